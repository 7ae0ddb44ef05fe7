"""How bytes leave a connection, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sys
import termios

from uvicorn.protocols.http.flow_control import FlowControl

# A closed connection whose client does not read what is still under way to it is dropped after this.
LINGER_S = 10.0
# A client that is still sending when its request is refused is heard out, unread, for so long: closing at once would
# make its kernel throw away our answer (RFC 9112, 9.6).
HEAR_OUT_S = 2.0


class CorkedTransport:
    """A transport that gathers writes until the loop's next turn. Everything else goes straight through."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
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
        """Send what is pending, then close; a client that takes nothing more is not waited for."""
        if self.is_closing():
            return
        if self.client_still_sends:
            self.hang_up()
            return
        self._flush()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(LINGER_S, self._transport.abort)
        elif self.get_extra_info("sslcontext") is not None:
            self._loop.call_later(HEAR_OUT_S, self._transport.abort)  # TLS waits for the client's farewell
        self._transport.close()

    def hang_up(self) -> None:
        """Send what is pending and an end, hear out who is still sending, then close."""
        if self.is_closing():
            return
        self._flush()
        self.is_closing = self._hung_up
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        self._loop.call_later(HEAR_OUT_S, self._transport.abort)

    def unread_bytes(self) -> int:
        """What the client has not taken yet: held here, and by the kernel, which takes from us in large lots."""
        held = 0
        connection = self.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            with contextlib.suppress(OSError):  # no TCP
                count = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
                held = int.from_bytes(count, sys.byteorder)
        return held + self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close at once."""
        self._pending.clear()
        self._transport.abort()

    def _hung_up(self) -> bool:
        return True

    def _flush(self) -> None:
        if not self._pending:
            return
        data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending.clear()
        # The client may have left in the turn that wrote; uvloop takes a write to nobody for a bug.
        if data and not self.is_closing():
            self._transport.write(data)


class Flow(FlowControl):
    """Both directions of a connection. While `far_ahead`, reading stays paused, whoever would resume it."""

    far_ahead = False

    def resume_reading(self) -> None:
        """Read on, if that is allowed."""
        if self.read_paused and not self.far_ahead:
            super().resume_reading()


class Stall:
    """A client that reads nothing of what is under way to it: after `stall_s` without a byte it is dropped."""

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
