"""One HTTP/1.1 connection of a client: what it sends becomes requests, served one after the other.

It runs under uvicorn's server, in the place of uvicorn's own protocol, and differs from it in what it does not put up with:
a head is checked before anything runs (`limits.py`), and everything a client may keep us waiting with has an end
(`patience.py`). A client that leaves is noticed by the call that runs, also when it had sent further requests ahead. Who
asks to upgrade to HTTP/2 is answered in HTTP/1.1. What a request costs here every call pays: mind it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import httptools
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from tidegate.errors import BadRequest, GatewayError
from tidegate.http.edge.cycle import Cycle, refusal
from tidegate.http.edge.limits import Connection, Edge, is_probe, split_target
from tidegate.http.edge.patience import Idle, Patience
from tidegate.http.edge.transport import CorkedTransport, Flow, Stall

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


Headers = list[tuple[bytes, bytes]]


class EdgeProtocol(asyncio.Protocol):
    """One client connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        edge: Edge,
    ) -> None:
        """All but `edge` is how uvicorn's server makes its protocols."""
        self._app = cast("ASGIApp", config.loaded_app)
        self._loop = _loop or asyncio.get_running_loop()
        self._state = server_state
        del app_state  # of the lifespan protocol, which is off
        self._edge = edge
        self._idle_s = config.timeout_keep_alive
        self._parser = httptools.HttpRequestParser(self)
        # What comes after a request that ends the connection is nobody's, and no reason to refuse that request.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._url = b""
        self._headers: Headers = []
        self._scope: dict[str, Any] | None = None  # of the request whose head is arriving
        self._expects_100 = False
        self._last: Cycle | None = None
        self._running: Cycle | None = None
        self._ahead: deque[Cycle] = deque()
        self._when_gone: Callable[[], None] | None = None
        self._wrong: GatewayError | None = None
        self._keeps_alive = True
        self._read_size = 0

    # -- coming and going --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called once by the event loop."""
        stream = cast("asyncio.Transport", transport)
        stream.set_write_buffer_limits(UNREAD_BYTES)
        self._corked = CorkedTransport(stream, self._loop)
        self._stall = Stall(self._corked, self._loop, self._edge.send_stall_s)
        self._flow = Flow(cast("asyncio.Transport", self._corked))
        self._fixed_scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": get_local_addr(stream),
            "client": get_remote_addr(stream),
            "scheme": "https" if is_ssl(stream) else "http",
            "root_path": "",
            WHEN_GONE: self.call_when_gone,
        }
        self.made_at = self._loop.time()
        self._patience = Patience(self._edge, self._loop, self._on_late)
        self._patience.await_first_byte()
        self._idle = Idle(self._loop, self._idle_s, self._corked.close)
        if not self._edge.admit(self, cast("set[Connection]", self._state.connections)):
            self._corked.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or we closed."""
        self._state.connections.discard(cast("Any", self))
        self._patience.end()
        self._stall.end()
        self._idle.stop()
        for cycle in (self._running, self._last):
            if cycle is not None:
                cycle.disconnect()
        if self._when_gone is not None:
            self._when_gone()
        self._flow.resume_writing()
        if exc is None:
            self._corked.close()
        # All of them refer to this connection: without them, it is freed with its last call.
        del self._parser, self._patience
        self._last = self._running = None
        self._ahead.clear()
        self._fixed_scope.clear()

    def eof_received(self) -> None:
        """The client sends no more, and we take that for a farewell."""

    def call_when_gone(self, tell: Callable[[], None] | None, forget: Callable[[], None] | None) -> None:
        """Call `tell` when the client leaves, until its owner takes it back as `forget`."""
        if tell is not None or self._when_gone == forget:
            self._when_gone = tell

    def is_idle(self) -> bool:
        """Whether no request is being served."""
        return not self._answering() and not self._ahead and not self._corked.is_closing()

    def has_asked(self) -> bool:
        """Whether a whole head ever came."""
        return self._last is not None

    def leave(self) -> None:
        """Make room for another."""
        self._state.connections.discard(cast("Any", self))
        self._corked.close()

    def shutdown(self) -> None:
        """The server ends: no further request on this connection."""
        self._keeps_alive = False
        if self._last is None or self._last.response_complete:
            self._corked.close()
        else:
            self._last.keep_alive = False

    # -- what is sent ------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """More is under way to the client than it reads."""
        self._flow.pause_writing()
        self._stall.begin()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._flow.resume_writing()
        self._stall.end()

    def _refuse(self, error: GatewayError) -> None:
        """Answer with an error and hang up; into an answer under way nothing is written."""
        running = self._running
        if running is not None and running.more_body and not running.response_started:
            # It waits for the rest of its body. The error is its answer.
            running.scope[REFUSED] = error
            running.disconnect()
        elif self._answering():
            self._corked.hang_up()
            return
        self._corked.write(refusal(error))
        self._flow.resume_reading()
        self._corked.hang_up()

    def _answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    # -- what is read ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if len(data) <= SLICE_BYTES:
            self._receive(data)
            return
        # A head or a chain of requests without end is found out before much was made of it.
        for at in range(0, len(data), SLICE_BYTES):
            self._receive(data[at : at + SLICE_BYTES])

    def _receive(self, data: bytes) -> None:
        if self._corked.is_closing():
            return
        patience = self._patience
        patience.arriving = self._read_size = len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(self._wrong or BadRequest("This is not valid HTTP"))
            return
        # Seldom: a request comes whole, in one read.
        if patience.is_watching or self._scope is not None or self._last is None or self._last.more_body:
            self._watch(len(data))

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._url = b""
        self._expects_100 = False
        self._headers = []
        self._scope = self._fixed_scope.copy()
        self._idle.since = 0.0

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer, which is nobody's."""
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects_100 = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """A head is whole; of one that asks for an upgrade nothing is known yet."""
        parser, scope = self._parser, self._scope
        if scope is None or parser.should_upgrade():
            return
        version = parser.get_http_version()
        try:
            scope[HEADERS] = self._check_head(version)
        except GatewayError as error:
            self._wrong = error  # the parser keeps nothing of an exception but that there was one
            raise
        scope["method"] = parser.get_method().decode("ascii")
        scope["headers"] = self._headers
        scope["http_version"] = version
        scope["raw_path"], scope["path"], scope["query_string"] = split_target(self._url)
        self._scope = None
        # Trailers are nobody's headers: the parser would add them to those of the request.
        self._headers = []
        self._patience.begin_body()
        self._last = cycle = Cycle(
            scope,
            self._corked,
            self._flow,
            default_headers=self._state.default_headers,
            expects_100=self._expects_100,
            on_response=self._on_response,
        )
        cycle.keep_alive = version != "1.0" and parser.should_keep_alive()
        if not self._answering():
            self._start(cycle)
        else:
            self._ahead.append(cycle)
            self._look_ahead()

    def on_body(self, body: bytes) -> None:
        """A part of a body. Of a request that was answered already it is thrown away."""
        cycle = self._last
        if cycle is None or cycle.response_complete:
            return
        self._patience.body_bytes += len(body)
        cycle.body += body
        if cycle is not self._running:
            self._look_ahead()
        elif len(cycle.body) > HIGH_WATER_LIMIT:
            self._flow.pause_reading()
        cycle.tell()

    def on_message_complete(self) -> None:
        """A request is whole."""
        cycle = self._last
        if cycle is None or self._parser.should_upgrade():
            return
        cycle.more_body = False
        self._patience.arriving = 0
        cycle.tell()
        if self._corked.client_still_sends:
            self._corked.client_still_sends = False
            if not cycle.response_started:
                cycle.keep_alive = self._keeps_alive

    def _check_head(self, version: str) -> dict[bytes, bytes]:
        """The headers by name. Raises GatewayError."""
        headers, target = self._headers, self._url
        edge = self._edge
        if len(headers) > edge.max_headers:
            raise edge.too_many()
        if self._patience.read_bytes + self._read_size > edge.max_head_bytes:
            edge.check_size(target, headers)
        found = edge.check_head(target, version, headers)
        if edge.is_full(self._state.connections) and not is_probe(target):
            raise edge.full()
        if len(self._ahead) >= FAR_TOO_MANY_AHEAD:
            raise BadRequest(f"More than {FAR_TOO_MANY_AHEAD} requests wait for their turn")
        return found

    def _feed(self, data: bytes) -> None:
        """To the parser. Raises httptools.HttpParserError."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Once more only for the next request, which is then one too many.
            self._refuse_upgrade(data[upgrade.args[0] :])

    def _refuse_upgrade(self, rest: bytes) -> None:
        """Go on as if nobody had asked (RFC 9110, 7.8), as Java's own client does with every request.

        llhttp would lose the body; so a new parser gets the head again, without that header.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        if method == b"CONNECT" or self._answering():
            self._refuse(BadRequest("There is nothing to upgrade to"))
            return
        lines = [b"%b %b HTTP/%b" % (method, self._url, version)]
        lines += [b"%b: %b" % header for header in self._headers if header[0] != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join([*lines, b"", rest]))

    # -- one after the other -----------------------------------------------------------------------------------------

    def _look_ahead(self) -> None:
        """Read no further while too much waits for its turn."""
        ahead = self._ahead
        self._flow.far_ahead = (
            len(ahead) > MAX_AHEAD or sum([len(one.body) for one in ahead]) > HIGH_WATER_LIMIT
        )
        if self._flow.far_ahead:
            self._flow.pause_reading()

    def _start(self, cycle: Cycle) -> None:
        self._running = cycle
        if cycle.more_body and self._patience.is_watching:  # it had to wait for its turn, unread
            self._patience.await_body()
        cycle.start(self._app, self._loop, self._state.tasks)

    def _on_response(self) -> None:
        """The running request is answered."""
        self._state.total_requests += 1
        if self._corked.is_closing():
            return
        if self._ahead:
            following = self._ahead.popleft()
            self._look_ahead()
            self._flow.resume_reading()
            self._start(following)
            return
        self._flow.resume_reading()
        if self._scope is None:  # else the next one is arriving
            self._idle.begin()

    # -- how long we wait --------------------------------------------------------------------------------------------

    def _reading_head(self) -> bool:
        return self._scope is not None or self._last is None

    def _watch(self, size: int) -> None:
        """After a read that did not end a request."""
        if self._corked.is_closing():
            return
        wrong: GatewayError | None
        last = self._last
        if len(self._headers) > self._edge.max_headers:
            wrong = self._edge.too_many()
        elif last is None or self._scope is not None:
            wrong = self._patience.read_head()
        elif last.more_body:
            wrong = self._patience.read_body(size)
            if not self._corked.client_still_sends:
                # An answer that comes before the body has is the last one on this connection.
                self._corked.client_still_sends = True
                self._keeps_alive = last.keep_alive
                last.keep_alive = False
        else:
            self._patience.end()
            return
        if wrong is not None:
            self._refuse(wrong)

    def _on_late(self, error: GatewayError | None) -> None:
        """Patience is over: with an answer where a request has begun to run, else without a word."""
        if self._corked.is_closing():
            return
        not_its_turn = self._answering() and (self._reading_head() or self._running is not self._last)
        if not_its_turn or (error is not None and self._flow.read_paused):
            self._patience.go_on()  # the beginning of the next request can wait with its end; or it is we who do not read
        elif error is not None:
            self._refuse(error)
        else:
            self._corked.close()
