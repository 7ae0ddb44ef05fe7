"""Sends the bytes of a connection, and closes the connection so that the client still receives all of them."""

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

# When a request is refused while its client is still sending, the connection stays open for this long after the client has
# received the last byte. Closing at once would make the client's kernel discard the answer (RFC 9112, 9.6).
HEAR_OUT_S = 2.0
# Interval between checks of a connection that the gateway has ended.
LOOK_EVERY_S = 0.5
# TIOCOUTQ counts a FIN that the client has not acknowledged as one byte.
END_BYTES = 1
# `struct linger` of socket(7): linger is on and its time is 0, so that closing the socket sends a reset.
_RESET = struct.pack("ii", 1, 0)


class CorkedTransport:
    """A transport that gathers writes until the next turn of the event loop. All other calls go straight through."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, stall_s: float) -> None:
        """`stall_s` is how long a client may read nothing after the gateway has ended the connection."""
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
        """Send together with everything else that is written in this turn of the event loop."""
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(data)

    def write_out(self, data: bytes) -> None:
        """Send now, after everything that was written earlier in this turn of the event loop."""
        self._pending.append(data)
        self._flush()

    def close(self) -> None:
        """Send pending bytes, then close. A slow client may read on until it stalls for `stall_s`."""
        if self.is_closing():
            return
        if self.client_still_sends:
            self.hang_up()
            return
        self._flush()
        if self.get_extra_info("sslcontext") is not None:
            self._farewell.begin()  # closing TLS waits for the client's close_notify
        # On a plain connection, unsent bytes have paused the protocol's writing, so a `Stall` already sets a limit.
        self._transport.close()

    def hang_up(self) -> None:
        """Send pending bytes and end this side of the connection. Close when the client ends its side or is too slow."""
        if self.is_closing():
            return
        self._flush()
        self.is_closing = self._hung_up
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        self._farewell.begin()

    def ended(self) -> None:
        """Stop all checks, because the connection is lost."""
        self._farewell.stop()

    def unread_bytes(self) -> int:
        """Return the number of bytes that the client has not received yet, in this buffer and in the kernel's."""
        held = 0
        connection = self.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            with contextlib.suppress(OSError):  # the socket is not TCP
                count = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
                held = int.from_bytes(count, sys.byteorder)
        return held + self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close at once. A client that loses bytes gets a reset: an orderly end could look like the end of a body."""
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
        # The client may have left since the write. uvloop reports a write to a closed connection as a bug.
        if data and not self.is_closing():
            self._transport.write(data)


class Flow(FlowControl):
    """Flow control of both directions of a connection. While `far_ahead` is true, `resume_reading` has no effect."""

    far_ahead = False

    def resume_reading(self) -> None:
        """Resume reading unless `far_ahead` is true."""
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
        """Start the time limit, because the write buffer is full."""
        if self._timer is None:
            self._look_again(self._transport.unread_bytes())

    def end(self) -> None:
        """Stop the time limit, because the client has read the buffer or has disconnected."""
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
    """The time limits of a connection that the gateway has ended and the client has not: the client may read what is left.

    The connection is aborted `HEAR_OUT_S` after the client has received everything, or when it receives nothing for
    `stall_s`.
    """

    def __init__(self, transport: CorkedTransport, loop: asyncio.AbstractEventLoop, stall_s: float) -> None:
        self._transport = transport
        self._loop = loop
        self._stall_s = stall_s
        self._unread: int | None = None
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Start the checks, because the last byte was written."""
        self._since = self._loop.time()
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)

    def stop(self) -> None:
        """Stop the checks, because the connection is lost."""
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
