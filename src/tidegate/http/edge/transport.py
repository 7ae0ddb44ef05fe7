"""How bytes leave a connection, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
import termios

from uvicorn.protocols.http.flow_control import FlowControl

from tidegate.aio import EARLY_S

# A client that is still sending when its request is refused is heard out, unread, for so long after it has taken our last
# byte: closing at once would make its kernel throw away our answer (RFC 9112, 9.6).
HEAR_OUT_S = 2.0
# How often a connection that we ended is looked at.
LOOK_EVERY_S = 0.5
# The end of a connection counts as one byte among those that the client has not acknowledged.
END_BYTES = 1
# `struct linger` of socket(7): on, and no time.
_RESET = struct.pack("ii", 1, 0)


class CorkedTransport:
    """A transport that gathers writes until the loop's next turn. Everything else goes straight through."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, stall_s: float) -> None:
        """`stall_s` is how long a client may take nothing of what is left for it when the connection has ended."""
        self._transport = transport
        self._loop = loop
        self._farewell = Farewell(self, loop, stall_s)
        self._pending: list[bytes] = []
        self.client_still_sends = False
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

    def write_out(self, data: bytes) -> None:
        """Send now, after whatever else this turn has written."""
        self._pending.append(data)
        self._flush()

    def close(self) -> None:
        """Send what is pending, then close. The client may take it as slowly as it likes: only a stall ends that."""
        if self.is_closing():
            return
        if self.client_still_sends:
            self.hang_up()
            return
        self._flush()
        if self.get_extra_info("sslcontext") is not None:
            self._farewell.begin()  # TLS waits for the client's farewell
        # Of a plain connection, what is left has paused the protocol, so that a `Stall` is watching.
        self._transport.close()

    def hang_up(self) -> None:
        """Send what is pending and an end, hear out a client that is still sending, then close."""
        if self.is_closing():
            return
        self._flush()
        self.is_closing = self._hung_up
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        self._farewell.begin()

    def ended(self) -> None:
        """The connection is gone."""
        self._farewell.stop()

    def unread_bytes(self) -> int:
        """Return the number of bytes that the client has not received yet, in this buffer and in the kernel's."""
        held = 0
        connection = self.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            with contextlib.suppress(OSError):  # no TCP
                count = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
                held = int.from_bytes(count, sys.byteorder)
        return held + self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close at once. A client that loses bytes by it meets a reset: an orderly end could pass for the end of a body."""
        self._pending.clear()
        connection = self.get_extra_info("socket")
        if self.unread_bytes() > END_BYTES and connection is not None and connection.fileno() >= 0:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def _hung_up(self) -> bool:
        return True

    def _flush(self) -> None:
        if not self._pending:
            return
        data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending.clear()
        # The client may have left in the turn that wrote. uvloop reports a write to a closed connection as a bug.
        if data and not self.is_closing():
            self._transport.write(data)


class Flow(FlowControl):
    """Flow control of both directions of a connection. While `far_ahead` is true, `resume_reading` has no effect."""

    far_ahead = False

    def resume_reading(self) -> None:
        """Read on, if that is allowed."""
        if self.read_paused and not self.far_ahead:
            super().resume_reading()


class Stall:
    """Detects a client that has stopped reading, and closes its connection after `stall_s` seconds without progress."""

    def __init__(self, transport: CorkedTransport, loop: asyncio.AbstractEventLoop, stall_s: float) -> None:
        self._transport = transport
        self._loop = loop
        self._stall_s = stall_s
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """More is under way than the client reads."""
        if self._timer is None:
            self._look_again(self._transport.unread_bytes())

    def end(self) -> None:
        """It has caught up, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self, unread: int) -> None:
        self._timer = self._loop.call_later(self._stall_s, self._on_time, unread)

    def _on_time(self, unread_before: int) -> None:
        self._timer = None
        unread = self._transport.unread_bytes()
        if unread >= unread_before:
            self._transport.abort()
        else:
            self._look_again(unread)


class Farewell:
    """The end of a connection that we have ended: the client takes what is left, at its own speed, and then hangs up too.

    The connection is aborted `HEAR_OUT_S` after the client has taken everything, or when it takes nothing for `stall_s`.
    """

    def __init__(self, transport: CorkedTransport, loop: asyncio.AbstractEventLoop, stall_s: float) -> None:
        self._transport = transport
        self._loop = loop
        self._stall_s = stall_s
        self._unread: int | None = None
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """The last byte was written."""
        self._since = self._loop.time()
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        unread, now = max(END_BYTES, self._transport.unread_bytes()), self._loop.time()
        if self._unread is not None and unread < self._unread:
            self._since = now
        self._unread = unread
        patience_s = HEAR_OUT_S if unread == END_BYTES else self._stall_s
        if now >= self._since + patience_s - EARLY_S:
            self._transport.abort()
        else:
            self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)
