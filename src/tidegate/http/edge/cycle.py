"""One request on a connection and its response, as the application sees them: ASGI's `receive` and `send`.

The head waits for the first part of the body, so that both leave in one write. The last part leaves in one write with
everything that was written in the same turn of the event loop.
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
# Engines refuse with numbers that no standard knows, and those are passed on.
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode() for status in range(100, 600)
}
_BODILESS = (204, 304)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = (b"connection", b"close")
# A body of at most this size is written at once, with its head. The connection buffers what the client has not read.
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
    """A whole response without an application, the connection's last.

    `asked` are the headers of the request, as far as they have come; `took_s` is the time since its first byte, seconds.
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
    """The id the client gave its request, if it is well-formed."""
    given = headers.get(b"x-request-id")
    return given if given is not None and _REQUEST_ID.fullmatch(given) else None


class Cycle:
    """A request and its response. `on_response` is called once the response is whole.

    `keep_alive` False makes the response the connection's last; whoever knows that sets it before the response begins.
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
        self._owed: int | None = None  # bytes of the body that the head has promised

    def tell(self) -> None:
        """There is something new to `receive`."""
        self._news = True
        if self._told is not None:
            self._told.set()

    def sound(self) -> None:
        """Send bytes that a client ignores. If the client has closed its socket, its system answers with a reset."""
        if not self.response_started:
            if self.scope["http_version"] != "1.0":  # which has no interim responses
                self._transport.write(_CONTINUE)
        elif self._owed is None and not (self._head or self.response_complete):
            self._transport.write(self._framed(b":\n\n"))  # a comment: only event streams have no length

    def disconnect(self) -> None:
        """The client is gone."""
        if not self.response_complete:
            self.disconnected = True
        self.tell()

    def start(self, app: ASGIApp, loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[None]]) -> None:
        """Have the application answer, in a task that is among `tasks` while it runs."""
        task = loop.create_task(self._run(app, tasks))
        self._task = task
        tasks.add(task)

    async def _run(self, app: ASGIApp, tasks: set[asyncio.Task[None]]) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        finally:
            if sys.exception() is not None:
                self._task.add_done_callback(_log_failure)
            # Not as a callback of the task: that would be another turn of the loop for every request.
            tasks.discard(self._task)
            del self._task
            if not (self.disconnected or self.response_complete):
                self._fail()

    async def receive(self) -> Message:
        """ASGI's `receive`: what has come of the body since the last one, or that the client left."""
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
        # Resume now, not with the next `receive`, which may never come: without reading, a client's leaving is not seen.
        self._flow.resume_reading()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """ASGI's `send`. Raises RuntimeError for what would make the connection's next answer a lie."""
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
            # Whether it stays is said below, once.
            stays = stays and _CLOSE not in headers
            headers = [header for header in headers if header != _CLOSE]
        lines = [_STATUS_LINES[status], *[b"%b: %b\r\n" % header for header in headers]]
        if self.scope["method"] == "HEAD" or status in _BODILESS:
            owed = 0
        # HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
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
            # Not held back for a client that reads slowly: this may be the event that says why its stream ends.
            self._transport.write_out(head + last + end)
        elif not await self._has_left(head, last, end):
            return
        if self._flow.write_paused:
            # Until its last byte has left, a response is not complete, and its call is not over.
            await self._flow.drain()
            if self.disconnected:
                return
        self.response_complete = True
        self.tell()
        if not self.keep_alive:
            self._flow.resume_reading()  # who still sends is heard out
            self._transport.close()
        self._on_response()

    async def _has_left(self, head: bytes, body: bytes, end: bytes) -> bool:
        """Send a large body in slices, each when the client has received the one before. Returns False if the client left.

        Only slices are copied, so the transport buffers at most one of them. When this returns True, the last slice
        has been sent, and the application may treat the whole body as sent.
        """
        self._transport.write(head)
        for at in range(0, len(body), SLICE_BYTES):
            self._transport.write_out(body[at : at + SLICE_BYTES])
            await asyncio.sleep(0)  # others have their turn, however fast this client is
            await self._flow.drain()
            if self.disconnected or self._transport.is_closing():
                return False
        self._transport.write_out(end)
        return True

    def _fail(self) -> None:
        """For an application that has not answered. Where it had begun to, the end of the connection says so."""
        if not self.response_started:
            error = GatewayError("The gateway failed; the operator can find the cause in the log")
            without_body = self.scope["method"] == "HEAD"
            self._transport.write_out(
                refusal(error, self.scope["headers"], self._default_headers, without_body=without_body)
            )
        self._transport.close()


def _log_failure(task: asyncio.Task[None]) -> None:
    """Asyncio would do it when the garbage collector finds the task."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a bug in the gateway", exc_info=error)
