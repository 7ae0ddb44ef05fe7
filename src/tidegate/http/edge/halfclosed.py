"""A client that has ended its side of the connection still reads, or is gone; the network says the same of both.

RFC 9112, 9.6, lets a client end its side after its request. A client that closes its socket looks like that until something
is sent to it: its system answers with a reset. So something is sent (`Cycle.sound`), and the reset is looked for. A client
that reads that and closes later is found out by the next event of its stream, or by TCP keep-alive after about a minute.
"""

from __future__ import annotations

import asyncio
import select

from tidegate.http.edge.transport import CorkedTransport

# The reset takes as long as a round trip. The event loops do not read any more from such a connection, so no event tells.
FIRST_LOOK_S = 0.01
LOOK_EVERY_S = 0.5


class HalfClosed:
    """Looks for the reset until the connection ends, and aborts the connection when it has come."""

    def __init__(self, transport: CorkedTransport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pause_s = FIRST_LOOK_S
        self._timer = loop.call_later(self._pause_s, self._look)

    def stop(self) -> None:
        """The connection is gone."""
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
        poll.register(connection.fileno(), 0)  # errors and resets are always told
        return bool(poll.poll(0))
