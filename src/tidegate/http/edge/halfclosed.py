"""Tells clients that ended their side of the connection but still read from clients that closed their socket.

A client may end its side after its request (RFC 9112, 9.6) and read the answer. A client that closes its socket looks the
same until the gateway sends something, and then the client's system answers with a reset. So the gateway sends bytes that
the client ignores (`Cycle.sound`) and looks for the reset. A client that reads those bytes and closes later is noticed at
the next event of its stream, or by TCP keep-alive after one or two minutes.
"""

from __future__ import annotations

import asyncio
import select

from tidegate.http.edge.transport import CorkedTransport

# The reset takes one round trip. Polling is needed because event loops no longer read from a half-closed connection.
FIRST_LOOK_S = 0.01
LOOK_EVERY_S = 0.5


class HalfClosed:
    """A repeated check for a reset until the connection ends. If a reset has arrived, the connection is aborted."""

    def __init__(self, transport: CorkedTransport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pause_s = FIRST_LOOK_S
        self._timer = loop.call_later(self._pause_s, self._look)

    def stop(self) -> None:
        """Stop looking: the connection has ended."""
        self._timer.cancel()

    def _look(self) -> None:
        if self._is_reset():
            self._transport.abort()
            return
        self._pause_s = min(2 * self._pause_s, LOOK_EVERY_S)
        self._timer = self._loop.call_later(self._pause_s, self._look)

    def _is_reset(self) -> bool:
        connection = self._transport.get_extra_info("socket")
        if connection is None or connection.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(connection.fileno(), 0)  # errors and resets are always reported
        return bool(poll.poll(0))
