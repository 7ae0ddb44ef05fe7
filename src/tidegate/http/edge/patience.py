"""Time limits for a client that sends a request: how long it may pause, and how slowly it may send.

The first byte, the rest of a head and the rest of a body are waited for. The first byte and the head have one time limit
each. A body may be large and its client slow, so a body has two limits, which allow a big upload and stop a trickle. No
pause may be longer than `body_idle_s`, and the whole body may take `body_idle_s` plus a second for every
`min_body_bytes_per_s` that arrived (as in Apache's mod_reqtimeout). The call's deadline bounds both. Bytes around the
body, such as chunk extensions and trailers, do not count as progress and may not exceed the size of a head. One timer
serves all limits. A request that arrives in one read never starts the timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tidegate.aio import EARLY_S, Alarm
from tidegate.errors import BadRequest, GatewayError, RequestTimeout
from tidegate.http.edge.limits import Edge

# The most bytes on the wire for each byte of a body. Six are needed if every byte is sent as a chunk of its own.
FRAMING = 16


class Patience:
    """The time limits of one connection. `on_late` gets the error for a late body, None for a late first byte or head."""

    def __init__(
        self, edge: Edge, loop: asyncio.AbstractEventLoop, on_late: Callable[[GatewayError | None], None]
    ) -> None:
        self._edge = edge
        self._loop = loop
        self._on_late = on_late
        self._timer: asyncio.TimerHandle | None = None
        self._in_body = False
        self._in_head = False
        self._since = 0.0
        self._progress_at = 0.0
        self._progress_bytes = 0
        self.is_watching = False
        self.read_bytes = 0
        """Bytes of the head, or of the body with its framing, in earlier reads."""
        self.arriving = 0
        """Bytes of the current read that may belong to an incomplete head."""
        self.body_bytes = 0
        """Bytes of the body so far, without framing."""

    def await_first_byte(self) -> None:
        """Start the time limit for a new connection's first byte."""
        self._start(self._edge.first_byte_s)

    def await_head(self) -> None:
        """Start the time limit for a head that has begun."""
        self._in_head = True
        self._since = self._loop.time()
        self._start(self._edge.head_s)

    def await_body(self) -> None:
        """Start the time limits for the rest of a body."""
        self._in_body, self._in_head = True, False
        self._since = self._progress_at = self._loop.time()
        self._progress_bytes = self.body_bytes
        self._start(self._edge.body_idle_s)

    def begin_body(self) -> None:
        """Reset the counters for a new body, because its head is complete."""
        self.body_bytes = self.read_bytes = 0
        self._in_body = False

    def read_head(self) -> GatewayError | None:
        """Account for a read that ended within a head. Return an error if the head is too large."""
        if not self._in_head:
            self._in_body, self.read_bytes = False, 0
            self.await_head()
        self.read_bytes += self.arriving
        return self._edge.too_large() if self.read_bytes > self._edge.max_head_bytes else None

    def read_body(self, size: int) -> GatewayError | None:
        """Account for a read of `size` bytes that ended within a body. Return an error if there is too much framing."""
        if not self._in_body:
            self.await_body()
            return None
        self.read_bytes += size
        if self.body_bytes > self._progress_bytes:
            self._progress_bytes = self.body_bytes
            self._progress_at = self._loop.time()
        if self.read_bytes - FRAMING * self.body_bytes > self._edge.max_head_bytes:
            return BadRequest("The body has too much chunk framing for its size")
        return None

    def go_on(self) -> None:
        """Restart the time limit, because the gateway was not reading."""
        if self._in_body:
            self.await_body()
        else:
            self.await_head()

    def waited_s(self) -> float:
        """Return the seconds since the wait for the head or body began, or 0 for a request that arrived in one read."""
        return self._loop.time() - self._since if self._in_head or self._in_body else 0.0

    def end(self) -> None:
        """Stop all time limits."""
        self._in_head = self._in_body = self.is_watching = False
        self.read_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.is_watching = True
        self._timer = self._loop.call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if not self._in_body:
            self._on_late(None)
            return
        idle_s = self._edge.body_idle_s
        due_by_rate = self._since + idle_s + self.body_bytes / self._edge.min_body_bytes_per_s
        due = min(self._progress_at + idle_s, due_by_rate)
        if self._loop.time() < due - EARLY_S:
            self._timer = self._loop.call_at(due, self._on_time)
        else:
            self._on_late(
                RequestTimeout("The rest of the request did not arrive in time, or arrived too slowly")
            )


class Idle:
    """The time limit of a connection between two requests. `on_idle` is called if no byte arrives for `idle_s`.

    `since` is the time at which the connection became idle, on the loop's clock. It is 0 while the connection is not idle.
    The first byte of a request sets it to 0.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, idle_s: float, on_idle: Callable[[], None]) -> None:
        self.since = 0.0
        self._loop = loop
        self._idle_s = idle_s
        self._on_idle = on_idle
        self._alarm = Alarm(loop, self._on_time)

    def begin(self) -> None:
        """Start the time limit, because all requests are answered."""
        self.since = self._loop.time()
        self._alarm.ring_by(self.since + self._idle_s)

    def stop(self) -> None:
        """Stop the time limit, because the connection is lost."""
        self._alarm.stop()

    def _on_time(self) -> None:
        if not self.since:
            return
        until = self.since + self._idle_s
        if self._loop.time() < until - EARLY_S:
            self._alarm.ring_by(until)
        else:
            self._on_idle()
