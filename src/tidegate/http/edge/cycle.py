"""One request on a connection and its response, as the application sees them: ASGI's `receive` and `send`.

The response's head is held until the first part of the body is there, so that both are sent in one write. The last part of
the body is sent in one write with everything else that was written in the same turn of the event loop.
"""

from __future__ import annotations

import asyncio
import http
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Scope
from uvicorn.protocols.http.flow_control import FlowControl

from tidegate.errors import GatewayError
from tidegate.http.edge.transport import CorkedTransport

_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}
# All numbers, not only standard ones: engines also refuse with non-standard statuses, and these are passed on.
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode() for status in range(100, 600)
}
_BODILESS = (204, 304)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = (b"connection", b"close")
# A body of at most this size is written at once, with its head. The connection buffers what the client has not read yet.
LARGE_BYTES = 64 * 1024
SLICE_BYTES = 256 * 1024

_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")

Headers = list[tuple[bytes, bytes]]

log = logging.getLogger(__name__)


def refusal(
    error: GatewayError,
    asked: Headers,
    default_headers: Headers,
    *,
    took_s: float = 0.0,
    without_body: bool = False,
) -> bytes:
    """Return a complete error response that needs no application. It is the last response on its connection.

    `asked` are the request's headers received so far. `took_s` is the time since the request's first byte, in seconds.
    """
    body = error.body()
    request_id = request_id_of(dict(asked)) or b"req_" + os.urandom(12).hex().encode()
    headers = [
        *default_headers,
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id),
        (b"server-timing", b"total;dur=%.3f" % (took_s * 1000)),
        *error.headers(),
        _CLOSE,
    ]
    lines = [b"%b: %b\r\n" % header for header in headers]
    return b"".join([_STATUS_LINES[error.status], *lines, b"\r\n", b"" if without_body else body])


def request_id_of(headers: Mapping[bytes, bytes]) -> bytes | None:
    """Return the id that the client gave its request, or None if that id is missing or malformed."""
    given = headers.get(b"x-request-id")
    return given if given is not None and _REQUEST_ID.fullmatch(given) else None


class Cycle:
    """A request and its response. `on_response` is called once the response is complete.

    If `keep_alive` is set to False before the response begins, the response is the last one on the connection.
    """

    __slots__ = (
        "_chunked",
        "_default_headers",
        "_expects_100",
        "_flow",
        "_head",
        "_news",
        "_on_response",
        "_owed",
        "_task",
        "_told",
        "_transport",
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
    )

    def __init__(
        self,
        scope: Scope,
        transport: CorkedTransport,
        flow: FlowControl,
        *,
        default_headers: Headers,
        expects_100: bool,
        on_response: Callable[[], None],
    ) -> None:
        self.scope = scope
        self.body = bytearray()
        self.more_body = self.keep_alive = True
        self.disconnected = self.response_started = self.response_complete = False
        self._transport = transport
        self._flow = flow
        self._default_headers = default_headers
        self._expects_100 = expects_100
        self._on_response = on_response
        self._news = self._chunked = False
        self._told: asyncio.Event | None = None
        self._head = b""
        self._owed: int | None = None  # bytes of the body still to send, where the head gave a content-length

    def tell(self) -> None:
        """Notify `receive` that new data is available."""
        self._news = True
        if self._told is not None:
            self._told.set()

    def sound(self) -> None:
        """Send bytes that a client ignores. If the client has closed its socket, its system answers with a reset.

        This is a "100 Continue" before the response has begun, and an SSE comment inside an event stream.
        """
        if not self.response_started:
            if self.scope["http_version"] != "1.0":  # HTTP/1.0 has no interim responses
                self._transport.write(_CONTINUE)
        elif self._owed is None and not (self._head or self.response_complete):
            self._transport.write(
                self._framed(b":\n\n")
            )  # of the responses, only event streams have no length

    def disconnect(self) -> None:
        """Record that the client has disconnected."""
        if not self.response_complete:
            self.disconnected = True
        self.tell()

    def start(self, app: ASGIApp, loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[None]]) -> None:
        """Start the application in a new task. `tasks` contains that task while it runs."""
        task = loop.create_task(self._run(app, tasks))
        self._task = task
        tasks.add(task)

    async def _run(self, app: ASGIApp, tasks: set[asyncio.Task[None]]) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        finally:
            if sys.exception() is not None:
                self._task.add_done_callback(_log_failure)
            # Done here, because a done callback of the task would cost every request another turn of the loop.
            tasks.discard(self._task)
            del self._task
            if not (self.disconnected or self.response_complete):
                self._fail()

    async def receive(self) -> Message:
        """Return the part of the body that arrived since the last call, or a disconnect message (ASGI's `receive`)."""
        if self._expects_100:
            self._expects_100 = False
            if not self._transport.is_closing():
                self._transport.write(_CONTINUE)
        if not (self.disconnected or self.response_complete):
            self._flow.resume_reading()
            if not self._news:
                self._told = self._told or asyncio.Event()
                await self._told.wait()
            self._news, self._told = False, None
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        # Resume reading now: the application may never call `receive` again, and a disconnect is noticed only by reading.
        self._flow.resume_reading()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """Send a part of the response (ASGI's `send`).

        Raises RuntimeError for a message out of order or a wrong length, because the client would misread the response.
        """
        if self.disconnected:
            return
        if self.response_complete:
            raise RuntimeError("the response was complete")
        if message["type"] == "http.response.start":
            if self.response_started:
                raise RuntimeError("the response had begun")
            self._begin(message["status"], message.get("headers", []))
        elif not self.response_started:
            raise RuntimeError("the response had not begun")
        elif message.get("more_body", False):
            if self._flow.write_paused:
                await self._flow.drain()
                if self.disconnected:
                    return
            data = self._framed(message.get("body", b""))
            if self._head:
                data, self._head = self._head + data, b""
            self._transport.write(data)
        else:
            await self._end(message.get("body", b""))

    def _begin(self, status: int, headers: Headers) -> None:
        headers = [*self._default_headers, *headers]
        named, stays = dict(headers), self.keep_alive
        owed = int(named[b"content-length"]) if b"content-length" in named else None
        if b"connection" in named:
            # The header `connection: close` is added once, below.
            stays = stays and _CLOSE not in headers
            headers = [header for header in headers if header != _CLOSE]
        lines = [_STATUS_LINES[status], *[b"%b: %b\r\n" % header for header in headers]]
        if self.scope["method"] == "HEAD" or status in _BODILESS:
            owed = 0
        # HTTP/1.0 has no chunked encoding: the body ends where the connection ends.
        chunked = owed is None and self.scope["http_version"] != "1.0"
        if chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        if not stays:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if not head.count(b"\r") == head.count(b"\n") == len(lines):
            raise RuntimeError("a header of the response holds a line break")
        self.response_started, self._expects_100 = True, False
        self.keep_alive, self._owed, self._chunked = stays, owed, chunked
        self._head = head + b"\r\n"

    def _framed(self, body: bytes) -> bytes:
        if self._chunked:
            return b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        if self._owed is not None:
            if self.scope["method"] == "HEAD":
                return b""
            if len(body) > self._owed:
                raise RuntimeError("the body is longer than the response's content-length")
            self._owed -= len(body)
        return body

    async def _end(self, body: bytes) -> None:
        last = self._framed(body)
        if self._owed:
            raise RuntimeError("the body is shorter than the response's content-length")
        head, self._head = self._head, b""
        end = b"0\r\n\r\n" if self._chunked else b""
        if len(last) <= LARGE_BYTES:
            # Write even if the client reads slowly: this may be the event that tells it why the stream ends.
            self._transport.write_out(head + last + end)
        elif not await self._has_left(head, last, end):
            return
        if self._flow.write_paused:
            # A response is complete, and its call over, only when the last byte has been sent.
            await self._flow.drain()
            if self.disconnected:
                return
        self.response_complete = True
        self.tell()
        if not self.keep_alive:
            self._flow.resume_reading()  # keep reading from a client that is still sending, so that it gets the response
            self._transport.close()
        self._on_response()

    async def _has_left(self, head: bytes, body: bytes, end: bytes) -> bool:
        """Send a large body in slices, each after the client has received the one before. Return False if the client left.

        Only slices are copied, so the transport buffers at most one of them. When this returns True, the last slice
        has been sent, and the application may treat the whole body as sent.
        """
        self._transport.write(head)
        for at in range(0, len(body), SLICE_BYTES):
            self._transport.write_out(body[at : at + SLICE_BYTES])
            await asyncio.sleep(0)  # let other tasks run, however fast this client reads
            await self._flow.drain()
            if self.disconnected or self._transport.is_closing():
                return False
        self._transport.write_out(end)
        return True

    def _fail(self) -> None:
        """Handle an application that has ended without a complete response: send an error and close the connection.

        If the response has begun, only close: the premature end tells the client that the response is incomplete.
        """
        if not self.response_started:
            error = GatewayError("The gateway failed; the operator can find the cause in the log")
            without_body = self.scope["method"] == "HEAD"
            self._transport.write_out(
                refusal(error, self.scope["headers"], self._default_headers, without_body=without_body)
            )
        self._transport.close()


def _log_failure(task: asyncio.Task[None]) -> None:
    """Log the exception of a task now. Asyncio would log it only when the garbage collector finds the task."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a bug in the gateway", exc_info=error)
