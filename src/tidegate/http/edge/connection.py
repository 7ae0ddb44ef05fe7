"""One connection of a client: its beginning and end, and the order in which its requests are served.

Every wait for a client has a time limit (`patience.py`, `transport.py`). A running call is told when its client
disconnects, even if the client has already sent further requests. A complete request is answered, even if invalid bytes
follow it.
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

from tidegate.errors import GatewayError
from tidegate.http.edge.cycle import Cycle, refusal
from tidegate.http.edge.halfclosed import HalfClosed
from tidegate.http.edge.limits import Connection, Edge
from tidegate.http.edge.patience import Idle, Patience
from tidegate.http.edge.transport import CorkedTransport, Flow, Stall

WHEN_GONE = "tidegate.when_gone"
"""The key in the ASGI scope for `ClientConnection.call_when_gone`."""
REFUSED = "tidegate.refused"
"""The key in the ASGI scope for the error with which the connection refused the rest of the request's body."""

# Over TLS, at most this much of an answer is buffered for a client that does not read. Beyond it, the engine has to wait.
TLS_UNREAD_BYTES = 8 * 1024
# The most requests queued on a connection while an earlier one is being answered. Beyond it, reading is paused.
MAX_AHEAD = 8

Headers = list[tuple[bytes, bytes]]


class ClientConnection(asyncio.Protocol):
    """One client connection without the parser's callbacks, which `EdgeProtocol` adds."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        edge: Edge,
    ) -> None:
        """All arguments but `edge` are those that uvicorn's server passes to its protocols."""
        self._app = cast("ASGIApp", config.loaded_app)
        self._loop = _loop or asyncio.get_running_loop()
        self._state = server_state
        del app_state  # unused: it belongs to the lifespan protocol, which is off
        self._edge = edge
        self._idle_s = config.timeout_keep_alive
        self._parser = httptools.HttpRequestParser(self)
        # Bytes after a request that ends the connection are ignored. They are no reason to refuse that request.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._url = b""
        self._headers: Headers = []
        self._scope: dict[str, Any] | None = None  # the scope of the request whose head is arriving
        self._expects_100 = False
        self._last: Cycle | None = None
        self._running: Cycle | None = None
        self._ahead: deque[Cycle] = deque()
        self._when_gone: Callable[[], None] | None = None
        self._wrong: GatewayError | None = None  # the error that made the parser stop
        self._refused: GatewayError | None = None  # the error to send once all earlier requests are answered
        self._keeps_alive = True
        self._half_closed: HalfClosed | None = None
        self._read_size = 0

    # -- beginning and end -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Prepare the connection and start its first time limit. The event loop calls this once."""
        stream = cast("asyncio.Transport", transport)
        # Pause the application as soon as the kernel's buffer is full, so that it knows when the last byte was sent. TLS
        # has a buffer of its own, which cannot be inspected here.
        stream.set_write_buffer_limits(TLS_UNREAD_BYTES if is_ssl(stream) else 0)
        self._corked = CorkedTransport(stream, self._loop, self._edge.send_stall_s)
        self._stall = Stall(self._corked, self._loop, self._edge.send_stall_s)
        self._flow = Flow(cast("asyncio.Transport", self._corked))
        self._client = get_remote_addr(stream)
        self._fixed_scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": get_local_addr(stream),
            "client": self._client,
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
        """Release everything, because the client disconnected or the gateway closed the connection."""
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
        self._corked.ended()
        if self._half_closed is not None:
            self._half_closed.stop()
        # These refer back to this connection. Without them, the connection is freed together with its last call.
        del self._parser, self._patience
        self._last = self._running = None
        self._ahead.clear()
        self._fixed_scope.clear()

    def eof_received(self) -> bool:
        """Handle a client that has ended its side. Return True, to keep the connection, if the client awaits an answer."""
        running, last = self._running, self._last
        if running is None or running.response_complete or running.more_body or last is None:
            return False
        if self._corked.is_closing() or self._corked.get_extra_info("sslcontext") is not None:
            return False  # event loops close a TLS connection as soon as one side ends
        if self._half_closed is None:
            self._half_closed = HalfClosed(self._corked, self._loop)
            self._keeps_alive = last.keep_alive = False
            running.sound()
        return True

    def call_when_gone(self, tell: Callable[[], None] | None, forget: Callable[[], None] | None) -> None:
        """Call `tell` when the client disconnects. The caller removes `tell` by passing it as `forget`."""
        if tell is not None or self._when_gone == forget:
            self._when_gone = tell

    def is_idle(self) -> bool:
        """Return whether no request is being served."""
        return not self._answering() and not self._ahead and not self._corked.is_closing()

    def has_asked(self) -> bool:
        """Return whether a complete head has ever arrived."""
        return self._last is not None

    def leave(self) -> None:
        """Close the connection to make room for another."""
        self._state.connections.discard(cast("Any", self))
        self._corked.close()

    def cut(self) -> None:
        """Close the connection at once, because the server has stopped. Unsent bytes are lost."""
        self._corked.abort()

    def shutdown(self) -> None:
        """Accept no further request on this connection, because the server is shutting down."""
        self._keeps_alive = False
        if self._last is None or self._last.response_complete:
            self._corked.close()
        else:
            self._last.keep_alive = False

    # -- what is sent ------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Pause the application, because the client reads more slowly than the application writes."""
        self._flow.pause_writing()
        self._stall.begin()

    def resume_writing(self) -> None:
        """Resume the application, because the client has read the buffer."""
        self._flow.resume_writing()
        self._stall.end()

    def _refuse(self, error: GatewayError, *, is_request: bool = True) -> None:
        """Answer with an error and close the connection. Complete requests that arrived earlier are answered first.

        `is_request` is False for bytes that the client did not mean as a request: it would take an answer to these bytes
        for the answer to its next request. So if complete requests are still unanswered, their answers are the last.
        """
        self._edge.refusals.add(error, self._client)
        running, ahead = self._running, self._ahead
        if running is not None and running.more_body and not running.response_started:
            # The running request waits for the rest of its body, so the error is the answer to that request.
            running.scope[REFUSED] = error
            running.disconnect()
        elif self._answering():
            if ahead and ahead[-1].more_body:
                ahead.pop()
            elif self._last is not None and not is_request:
                self._last.keep_alive = False
            self._refused = error
            self._patience.end()
            self._flow.far_ahead = False
            self._flow.resume_reading()  # the bytes are dropped, but a disconnect is noticed
            return
        self._answer_refused(error)

    def _answer_refused(self, error: GatewayError) -> None:
        last = self._last
        in_body = last is not None and last.more_body
        asked = last.scope["headers"] if last is not None and in_body else self._headers
        answer = refusal(
            error,
            asked,
            self._state.default_headers,
            took_s=self._patience.waited_s(),
            without_body=not in_body and self._parser.get_method() == b"HEAD",
        )
        self._corked.write(answer)
        self._flow.resume_reading()
        self._corked.hang_up()

    def _answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    # -- the order of requests ---------------------------------------------------------------------------------------

    def _look_ahead(self) -> None:
        """Pause reading while too many requests, or too many bytes of their bodies, are queued."""
        ahead = self._ahead
        self._flow.far_ahead = (
            len(ahead) > MAX_AHEAD or sum([len(one.body) for one in ahead]) > HIGH_WATER_LIMIT
        )
        if self._flow.far_ahead:
            self._flow.pause_reading()

    def _start(self, cycle: Cycle) -> None:
        self._running = cycle
        if cycle.more_body and self._patience.is_watching:  # its body was not read while it was queued
            self._patience.await_body()
        cycle.start(self._app, self._loop, self._state.tasks)

    def _on_response(self) -> None:
        """Start the next request, or wait for one, because the running request is answered."""
        self._state.total_requests += 1
        if self._corked.is_closing():
            return
        if self._ahead:
            following = self._ahead.popleft()
            self._look_ahead()
            self._flow.resume_reading()
            self._start(following)
            return
        if self._refused is not None:
            self._answer_refused(self._refused)
            return
        self._flow.resume_reading()
        if self._scope is None:  # otherwise the next request is arriving
            self._idle.begin()

    # -- time limits -------------------------------------------------------------------------------------------------

    def _reading_head(self) -> bool:
        return self._scope is not None or self._last is None

    def _watch(self, size: int) -> None:
        """Check the limits of an incomplete request after each read."""
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
                # If the request is answered before its body is complete, that answer is the last on this connection.
                self._corked.client_still_sends = True
                self._keeps_alive = last.keep_alive
                last.keep_alive = False
        else:
            self._patience.end()
            return
        if wrong is not None:
            self._refuse(wrong)

    def _on_late(self, error: GatewayError | None) -> None:
        """Handle a time limit that has passed: send `error` if there is one, otherwise close without an answer."""
        if self._corked.is_closing():
            return
        not_its_turn = self._answering() and (self._reading_head() or self._running is not self._last)
        if not_its_turn or (error is not None and self._flow.read_paused):
            # Either the late request is queued behind a running one, or the gateway itself has paused reading.
            self._patience.go_on()
        elif error is not None:
            self._refuse(error)
        else:
            self._corked.close()
