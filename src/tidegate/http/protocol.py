"""uvicorn's HTTP/1.1 protocol with a few habits changed.

What is written in one turn of the loop leaves in one system call: uvicorn writes head and body apart, which on one core is
a seventh of what a call costs. A head is checked before anything runs (`edge.py`), and everything a client may keep us
waiting with has an end (`patience.py`). A client that leaves is noticed by the call that runs, also when it had sent
further requests ahead. Who asks to upgrade to HTTP/2 is answered in HTTP/1.1.
"""

from __future__ import annotations

import asyncio
import http
import os
from collections.abc import Callable
from typing import Any, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tidegate.errors import BadRequest, GatewayError
from tidegate.http.edge import Edge, is_probe
from tidegate.http.patience import Patience
from tidegate.http.transport import CorkedTransport

WHEN_GONE = "tidegate.when_gone"
"""Where in the ASGI scope a request finds `call_when_gone`."""
HEADERS = "tidegate.headers"
"""Where it finds its headers as a dict."""
REFUSED = "tidegate.refused"
"""Where it finds the error that its client was given while its body was still awaited."""

# Of an answer, for a client that does not read: above this the engine is made to wait. The kernel has its own beside it.
UNREAD_BYTES = 8 * 1024
# What the parser gets at once: 20,000 headers in one read would hold up everybody else for 10 ms.
SLICE_BYTES = 32 * 1024
# Requests sent before the answer to an earlier one; a client that sends more is read no further for a while.
MAX_AHEAD = 8
# One read may hold more than that. So many are no pipelining.
FAR_TOO_MANY_AHEAD = 64


class EdgeProtocol(HttpToolsProtocol):
    """One client connection."""

    def __init__(self, *args: Any, edge: Edge, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._edge = edge
        self._running: RequestResponseCycle | None = None
        self._when_gone: Callable[[], None] | None = None
        self._wrong: GatewayError | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._keeps_alive = True
        self._read_size = 0

    # -- coming and going --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called once by the event loop."""
        transport.set_write_buffer_limits(UNREAD_BYTES)
        self._corked = CorkedTransport(transport, self.loop)
        corked: Any = self._corked
        super().connection_made(cast("asyncio.Transport", corked))
        self.made_at = self.loop.time()
        self._patience = Patience(self._edge, self.loop, self._on_late)
        self._patience.await_first_byte()
        if self._edge.is_full(self.connections):
            others = cast("set[EdgeProtocol]", self.connections) - {self}
            self._edge.make_room(others)
            if self._edge.is_crowded(self.connections):
                self._corked.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: uvicorn tells only the request that came last, the one that runs may be another."""
        self._patience.end()
        self._stop_stall_timer()
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        if self._when_gone is not None:
            self._when_gone()
        super().connection_lost(exc)

    def call_when_gone(self, tell: Callable[[], None] | None) -> None:
        """Have the request that runs told when its client leaves; None for no longer. ASGI would take a task for that."""
        self._when_gone = tell

    def is_idle(self) -> bool:
        """Whether no request is being served."""
        return not self._answering() and not self.pipeline and not self._corked.is_closing()

    def has_asked(self) -> bool:
        """Whether a whole head ever came."""
        return self._asked() is not None

    def leave(self) -> None:
        """Make room for another."""
        self.connections.discard(self)
        self._corked.close()

    def shutdown(self) -> None:
        """The server ends: no further request on this connection."""
        self._keeps_alive = False
        super().shutdown()

    # -- what is sent ------------------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request."""
        self._refuse(BadRequest(msg))

    def pause_writing(self) -> None:
        """More is under way to the client than it reads."""
        super().pause_writing()
        if self._stalled is None:
            unread = self._corked.unread_bytes()
            self._stalled = self.loop.call_later(self._edge.send_stall_s, self._on_stall, unread)

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._stop_stall_timer()

    def _refuse(self, error: GatewayError) -> None:
        """Answer with an error and hang up; into an answer under way nothing is written."""
        running = self._running
        if running is not None and running.more_body and not running.response_started:
            # It waits for the rest of its body. The error is its answer.
            cast("dict[str, Any]", running.scope)[REFUSED] = error
            running.disconnected = True
            running.message_event.set()
        elif self._answering():
            self._corked.hang_up()
            return
        body = error.body()
        status = f"HTTP/1.1 {error.status} {http.HTTPStatus(error.status).phrase}"
        head = [
            status.encode(),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"x-request-id: req_" + os.urandom(12).hex().encode(),
            b"connection: close",
            *(b"%b: %b" % header for header in error.headers()),
        ]
        self._corked.write(b"\r\n".join([*head, b"", body]))
        self.flow.resume_reading()
        self._corked.hang_up()

    def _asked(self) -> RequestResponseCycle | None:
        """The request that came last; uvicorn's type leaves out that there may be none yet."""
        return self.cycle

    def _answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _on_stall(self, unread_before: int) -> None:
        unread = self._corked.unread_bytes()
        self._stalled = None
        if unread >= unread_before:
            self._corked.abort()
        else:
            self._stalled = self.loop.call_later(self._edge.send_stall_s, self._on_stall, unread)

    def _stop_stall_timer(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        scope = cast("dict[str, Any]", cycle.scope)
        scope[WHEN_GONE] = self.call_when_gone
        if scope["http_version"] == "1.0":
            app = _Unchunked(app, cycle)
        if cycle.more_body and self._patience.is_watching:  # it had to wait for its turn, unread
            self._patience.await_body()
        super()._start_asgi_task(cycle, app)

    # -- what is read ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._unset_keepalive_if_required()
        if len(data) <= SLICE_BYTES:
            self._receive(data)
            return
        # A head or a chain of requests without end is found out before much was made of it.
        for at in range(0, len(data), SLICE_BYTES):
            self._receive(data[at : at + SLICE_BYTES])

    def _receive(self, data: bytes) -> None:
        if self._corked.is_closing():
            return
        self._patience.arriving = self._read_size = len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(self._wrong or BadRequest("This is not valid HTTP"))
            return
        cycle = self._asked()
        # Seldom: a request comes whole, in one read.
        if self._patience.is_watching or cycle is None or cycle.more_body or self._reading_head():
            self._watch(len(data))

    def on_headers_complete(self) -> None:
        """A head is whole; of one that asks for an upgrade nothing is known yet."""
        if self.parser.should_upgrade():
            return
        try:
            self._check_head()
        except GatewayError as error:
            self._wrong = error  # the parser keeps nothing of an exception but that there was one
            raise
        super().on_headers_complete()
        # Trailers are nobody's headers: the parser would add them to those of the request.
        self.headers = []
        self._patience.begin_body()
        if 0 < len(self.pipeline) <= MAX_AHEAD:
            # uvicorn reads no more until its turn has come, and would not see the client leave.
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """A part of a body. Of a request that was answered already it is thrown away."""
        cycle = self.cycle
        if cycle.response_complete:
            return
        self._patience.body_bytes += len(body)
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self.parser.should_upgrade():
            return
        cycle = self.cycle
        cycle.more_body = False
        self._patience.arriving = 0
        if not cycle.response_complete:
            cycle.message_event.set()
        if self._corked.client_still_sends:
            self._corked.client_still_sends = False
            if not cycle.response_started:
                cycle.keep_alive = self._keeps_alive

    def _check_head(self) -> None:
        """Raises GatewayError."""
        headers, target = self.headers, self.url
        edge = self._edge
        if len(headers) > edge.max_headers:
            raise edge.too_many()
        if self._patience.read_bytes + self._read_size > edge.max_head_bytes:
            edge.check_size(target, headers)
        found = edge.check_head(target, self.parser.get_http_version(), headers)
        cast("dict[str, Any]", self.scope)[HEADERS] = found
        if edge.is_full(self.connections) and not is_probe(target):
            raise edge.full()
        if len(self.pipeline) >= FAR_TOO_MANY_AHEAD:
            raise BadRequest(f"More than {FAR_TOO_MANY_AHEAD} requests wait for their turn")

    def _feed(self, data: bytes) -> None:
        """To the parser. Raises httptools.HttpParserError."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Once more only for the next request, which is then one too many.
            self._refuse_upgrade(data[upgrade.args[0] :])

    def _refuse_upgrade(self, rest: bytes) -> None:
        """Go on as if nobody had asked (RFC 9110, 7.8), as Java's own client does with every request.

        llhttp would lose the body; so a new parser gets the head again, without that header.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT" or self._answering():
            self.send_400_response("There is nothing to upgrade to")
            return
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join([*lines, b"", rest]))

    # -- how long we wait --------------------------------------------------------------------------------------------

    def _reading_head(self) -> bool:
        # uvicorn makes the scope with the first byte and knows the method with the last.
        scope = cast("dict[str, Any] | None", self.scope)
        return scope is None or "method" not in scope

    def _watch(self, size: int) -> None:
        """After a read that did not end a request."""
        if self._corked.is_closing():
            return
        wrong: GatewayError | None
        if len(self.headers or ()) > self._edge.max_headers:
            wrong = self._edge.too_many()
        elif self._reading_head():
            wrong = self._patience.read_head()
        elif self.cycle.more_body:
            wrong = self._patience.read_body(size)
            if not self._corked.client_still_sends:
                # An answer that comes before the body has is the last one on this connection.
                self._corked.client_still_sends = True
                self._keeps_alive = self.cycle.keep_alive
                self.cycle.keep_alive = False
        else:
            self._patience.end()
            return
        if wrong is not None:
            self._refuse(wrong)

    def _on_late(self, error: GatewayError | None) -> None:
        """Patience is over: with an answer where a request has begun to run, else without a word."""
        if self._corked.is_closing():
            return
        not_its_turn = self._answering() and (self._reading_head() or self._running is not self.cycle)
        if not_its_turn or (error is not None and self.flow.read_paused):
            self._patience.go_on()  # the beginning of the next request can wait with its end; or it is we who do not read
        elif error is not None:
            self._refuse(error)
        else:
            self._corked.close()


class _Unchunked:
    """An application that answers in HTTP/1.0, which knows no chunks: the end of the connection is the end of the body."""

    def __init__(self, app: Any, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        cycle = self._cycle

        has_length = False

        async def send_plainly(message: Any) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                has_length = any(name.lower() == b"content-length" for name, _ in message["headers"])
                cycle.chunked_encoding = None if has_length else False
            elif not has_length:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, send_plainly)
