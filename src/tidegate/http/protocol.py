"""uvicorn's HTTP/1.1 protocol with a few habits changed.

What is written in one turn of the loop leaves in one system call: uvicorn writes head and body apart, which on one core is
a seventh of what a call costs. The head of a request has bounds in size and time. A client that leaves is noticed by the
call that runs, also when it had sent further requests ahead. Who asks to upgrade to HTTP/2 is answered in HTTP/1.1.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tidegate.errors import BadRequest

WHEN_GONE = "tidegate.when_gone"
"""Where in the ASGI scope a request finds `call_when_gone`."""

MAX_HEAD_BYTES = 64 * 1024
HEAD_WITHIN_S = 10.0
# Requests sent before the answer to an earlier one; a client that sends more is read no further for a while.
MAX_AHEAD = 8
# A closed connection whose client does not read what is still under way to it is dropped after this.
LINGER_S = 10.0


class CorkedTransport:
    """A transport that gathers writes until the loop's next turn. Everything else goes straight through."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pending: list[bytes] = []
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.set_protocol = transport.set_protocol

    def write(self, data: bytes) -> None:
        """Send with whatever else this turn writes."""
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(data)

    def close(self) -> None:
        """Send what is pending, then close; a client that takes nothing more is not waited for."""
        self._flush()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(LINGER_S, self._transport.abort)
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._pending.clear()
        self._transport.abort()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        # The client may have left in the turn that wrote; uvloop takes a write to nobody for a bug.
        if pending and not self._transport.is_closing():
            self._transport.write(pending[0] if len(pending) == 1 else b"".join(pending))


class EdgeProtocol(HttpToolsProtocol):
    """One client connection."""

    # -- what is sent ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called once by the event loop."""
        corked: Any = CorkedTransport(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", corked))
        self._running: RequestResponseCycle | None = None
        self._when_gone: Callable[[], None] | None = None
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = self.loop.call_later(HEAD_WITHIN_S, self._on_late_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: uvicorn tells only the request that came last, the one that runs may be another."""
        self._stop_head_timer()
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

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, and close; into an answer under way nothing is written."""
        if not self._answering():
            body = BadRequest(msg).body()
            head = (
                b"HTTP/1.1 400 Bad Request",
                b"content-type: application/json",
                b"content-length: %d" % len(body),
                b"x-request-id: req_" + os.urandom(12).hex().encode(),
                b"connection: close",
            )
            self.transport.write(b"\r\n".join([*head, b"", body]))
        self.transport.close()

    def _answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        cast("dict[str, Any]", cycle.scope)[WHEN_GONE] = self.call_when_gone
        super()._start_asgi_task(cycle, app)

    # -- the head of a request ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._refuse_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("This is not valid HTTP")
        if self._head_timer is not None or self._reading_head():
            self._watch_head(len(data))

    def on_headers_complete(self) -> None:
        """A head is whole; of one that asks for an upgrade nothing is known yet."""
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()
        if 0 < len(self.pipeline) <= MAX_AHEAD:
            # uvicorn reads no more until its turn has come, and would not see the client leave.
            self.flow.resume_reading()

    def on_message_complete(self) -> None:
        """A request is whole."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

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
        self.parser.feed_data(b"\r\n".join([*lines, b"", rest]))

    def _reading_head(self) -> bool:
        # uvicorn makes the scope with the first byte and knows the method with the last.
        scope = cast("dict[str, Any] | None", self.scope)
        return scope is None or "method" not in scope

    def _watch_head(self, size: int) -> None:
        if not self._reading_head():
            self._stop_head_timer()
            return
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response(f"The head of the request is larger than {MAX_HEAD_BYTES} bytes")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_WITHIN_S, self._on_late_head)

    def _on_late_head(self) -> None:
        self._head_timer = None
        if self._answering():  # the beginning of the next request can wait with its end
            self._head_timer = self.loop.call_later(HEAD_WITHIN_S, self._on_late_head)
        elif not self.transport.is_closing():
            self.transport.close()

    def _stop_head_timer(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
