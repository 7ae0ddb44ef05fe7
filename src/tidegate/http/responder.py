"""Sends the response to one request, and notices when its client disconnects.

The status is sent as late as possible, so that a failure before the first byte can have a status of its own. A later
failure becomes an event of the stream. The connection reports when its client disconnects. Under a server that cannot
report this, a task watches for it. The engine's deadline does not cover a body that never arrives or an answer that is
never read, so the gateway ends these calls itself. On streams, a timer sends keep-alive comments.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from tidegate.errors import DeadlineExceeded, GatewayError
from tidegate.gateway import Gateway
from tidegate.http.edge.connection import WHEN_GONE
from tidegate.http.edge.protocol import HEADERS
from tidegate.kernel import sse
from tidegate.types import Batch

# The deadline here is this much later than the engine's, because the engine's error is more precise.
DEADLINE_GRACE_S = 0.5
_KEEP_ALIVE = sse.comment(b"keep-alive")
_EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

Headers = list[tuple[bytes, bytes]]
CallWhenGone = Callable[[Callable[[], None] | None, Callable[[], None] | None], None]


class Responder:
    """One response. `gone` is True once the client has disconnected. `stopped` is the error that `stop` was given."""

    __slots__ = (
        "_arrived_at",
        "_attended",
        "_call_when_gone",
        "_comment",
        "_gateway",
        "_loop",
        "_receive",
        "_send",
        "_sending",
        "_sent_at",
        "_silence",
        "_task",
        "_watching",
        "due_at",
        "finished",
        "gone",
        "headers",
        "request_id",
        "started",
        "stopped",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        request_id: bytes,
        gateway: Gateway,
    ) -> None:
        """The gateway's `call_deadline_s` limits the arrival of the body. The gateway's `live` set enforces `due_at`."""
        loop = gateway.loop
        self._gateway = gateway
        self._receive = receive
        self._send = send
        self.request_id = request_id
        # The headers of any kind of answer. A call adds to the list until the answer begins.
        self.headers: Headers = [(b"x-request-id", request_id)]
        self._loop = loop
        self._task = asyncio.current_task(loop)
        self._call_when_gone: CallWhenGone | None = scope.get(WHEN_GONE)
        self._watching: asyncio.Task[None] | None = None
        self._comment: asyncio.Task[None] | None = None
        self._silence: asyncio.TimerHandle | None = None
        self.stopped: GatewayError | None = None
        self._attended = self._sending = self.started = self.finished = self.gone = False
        self._arrived_at = self._sent_at = loop.time()
        self.due_at = self._arrived_at + gateway.settings.call_deadline_s + DEADLINE_GRACE_S

    def say_it_is_the_last(self) -> None:
        """Ask the client to close the connection after this response: the gateway is draining."""
        self.headers.append((b"connection", b"close"))

    # -- what is sent ----------------------------------------------------------------------------------------------

    async def whole(
        self, body: bytes, headers: Headers, *, status: int = 200, media_type: bytes = b"application/json"
    ) -> None:
        """Send a complete response."""
        self.started = self.finished = True
        about = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
        await self._send(
            {"type": "http.response.start", "status": status, "headers": about + self.headers + headers}
        )
        await self._send({"type": "http.response.body", "body": body})

    async def begin_stream(self, headers: Headers) -> None:
        """Send the status and headers of an event stream, unless a keep-alive comment has sent them already."""
        if self.started:
            return
        self.started = True
        await self._send(
            {"type": "http.response.start", "status": 200, "headers": _EVENT_STREAM + self.headers + headers}
        )

    async def events(self, batch: Batch) -> None:
        """Send the pieces of one batch in one write."""
        if len(batch) == 1:
            data = batch[0].event or sse.encode(batch[0].data)
        else:
            data = b"".join([piece.event or sse.encode(piece.data) for piece in batch])
        self._sending = True
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._sending = False
        self._sent_at = self._loop.time()

    async def end_stream(self, data: bytes) -> None:
        """Send the last bytes of an event stream."""
        self.finished = True
        await self._send({"type": "http.response.body", "body": data})

    async def refuse(self, error: GatewayError) -> None:
        """Send an error: as a response if nothing was sent yet, otherwise as the stream's last event, without `[DONE]`."""
        if self.gone or self.finished:
            return
        if self.started:
            await self.end_stream(sse.encode(error.body()))
        else:
            await self.whole(error.body(), [*error.headers(), self._timing()], status=error.status)

    def _timing(self) -> tuple[bytes, bytes]:
        """Return a `server-timing` header with the total time so far in milliseconds, for a response without stages."""
        return b"server-timing", b"total;dur=%.3f" % ((self._loop.time() - self._arrived_at) * 1000)

    # -- disconnects and time limits -------------------------------------------------------------------------------

    def attend(self, left_s: float) -> None:
        """Start watching for a disconnect, because the request is complete. Its answer is due in `left_s` seconds."""
        self._attended = True
        self._sent_at = self._loop.time()
        self.due_at = self._sent_at + left_s + DEADLINE_GRACE_S
        if self._call_when_gone is not None:
            self._call_when_gone(self._on_gone, None)
        else:
            # The application runs under a server other than the gateway's own. `release` ends the task.
            self._watching = self._loop.create_task(self._until_gone())

    def comment_in_silence(self, keep_alive_s: float) -> None:
        """Send a comment whenever nothing was sent for `keep_alive_s` seconds, from now on."""
        if self._silence is None:
            self._sent_at = self._loop.time()
            self._silence = self._loop.call_later(keep_alive_s, self._on_silence, keep_alive_s)

    def end_by(self, deadline: float) -> None:
        """Move the deadline closer. `deadline` is a time on the gateway's clock."""
        left_s = deadline - self._gateway.clock()
        self.due_at = min(self.due_at, self._loop.time() + left_s + DEADLINE_GRACE_S)
        self._gateway.live.sooner(self)

    def release(self) -> None:
        """Stop all timers and tasks, because the response has ended."""
        if self._call_when_gone is not None:
            self._call_when_gone(None, self._on_gone)
        if self._silence is not None:
            self._silence.cancel()
        for task in (self._watching, self._comment):
            if task is not None:
                task.cancel()

    def stop(self, reason: GatewayError) -> None:
        """End the call from outside. `reason` is the error for the client."""
        if self.stopped is None and not self.gone:
            self.stopped = reason
            if self._task is not None:
                self._task.cancel()

    def end_overdue(self) -> None:
        """End a call whose body did not arrive in time or whose answer was not sent in time.

        Each has the whole limit of the policy. A deadline that the request sets is one for both.
        """
        if self.finished:
            return  # the answer is complete, so the client may read the rest at its own speed
        what = "answer was sent" if self._attended else "request's body had come"
        self.stop(DeadlineExceeded(f"The deadline passed before the whole {what}"))

    def why(self, cancelled: asyncio.CancelledError) -> BaseException:
        """Return the error that `stop` was given, or the cancellation itself if there is none."""
        if self.stopped is None or self._task is None:
            return cancelled
        self._task.uncancel()
        return self.stopped

    async def _until_gone(self) -> None:
        message: Message = {"type": ""}
        while message["type"] != "http.disconnect":
            message = await self._receive()
        self._on_gone()

    def _on_gone(self) -> None:
        # Servers also report a disconnect after a finished response.
        if not self.finished:
            self.gone = True
            if self._task is not None and self.stopped is None:
                self._task.cancel()

    def _on_silence(self, keep_alive_s: float) -> None:
        now = self._loop.time()
        if self._sending or (self._comment is not None and not self._comment.done()):
            # The stream is not silent: the client reads slowly, so it needs no comment.
            self._sent_at = now
        elif now >= self._sent_at + keep_alive_s:
            self._sent_at = now
            self._comment = self._loop.create_task(self._keep_alive())
        self._silence = self._loop.call_at(self._sent_at + keep_alive_s, self._on_silence, keep_alive_s)

    async def _keep_alive(self) -> None:
        if self.finished:
            return
        await self.begin_stream([self._timing()])
        await self._send({"type": "http.response.body", "body": _KEEP_ALIVE, "more_body": True})


def header_values(scope: Scope) -> dict[bytes, bytes]:
    """Return the request's headers by lower-case name. Of a repeated header, the last value counts."""
    known: dict[bytes, bytes] | None = scope.get(HEADERS)
    if known is not None:
        return known
    found: Any = scope["headers"]
    return dict(found)
