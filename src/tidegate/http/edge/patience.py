"""How long a client may keep a connection waiting, and with how little.

Three things are waited for: the first byte, the rest of a head, the rest of a body. A head has one time limit. A body may
be long and its client slow, so it has two that let a big upload through and no trickle: no pause longer than `body_idle_s`,
and on the whole `body_idle_s` plus a second for every `min_body_bytes_per_s` that came (as Apache's mod_reqtimeout does).
The call's deadline bounds it all. What comes without being body, such as chunk extensions and trailers, is no progress and
may be no more than a head. One timer does all of it, and a request that comes in one read never starts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tidegate.aio import EARLY_S, Alarm
from tidegate.errors import BadRequest, GatewayError, RequestTimeout
from tidegate.http.edge.limits import Edge

# What a body may weigh on the wire for each of its bytes: six when every byte is a chunk of its own.
FRAMING = 16


class Patience:
    """The waiting of one connection. `on_late` gets the error for the client, None where a request has not begun."""

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
        """Of the head, or of what is behind it, in earlier reads."""
        self.arriving = 0
        """Bytes of the read at hand that may belong to the head that is being read."""
        self.body_bytes = 0
        """Of the body so far, without framing."""

    def await_first_byte(self) -> None:
        """A connection was made."""
        self._start(self._edge.first_byte_s)

    def await_head(self) -> None:
        """A head has begun."""
        self._in_head = True
        self._since = self._loop.time()
        self._start(self._edge.head_s)

    def await_body(self) -> None:
        """From now on the body is waited for."""
        self._in_body, self._in_head = True, False
        self._since = self._progress_at = self._loop.time()
        self._progress_bytes = self.body_bytes
        self._start(self._edge.body_idle_s)

    def begin_body(self) -> None:
        """A head is whole."""
        self.body_bytes = self.read_bytes = 0
        self._in_body = False

    def read_head(self) -> GatewayError | None:
        """A read ended within a head: what is wrong with that."""
        if not self._in_head:
            self._in_body, self.read_bytes = False, 0
            self.await_head()
        self.read_bytes += self.arriving
        return self._edge.too_large() if self.read_bytes > self._edge.max_head_bytes else None

    def read_body(self, size: int) -> GatewayError | None:
        """A read of so many bytes ended within a body: what is wrong with that."""
        if not self._in_body:
            self.await_body()
            return None
        self.read_bytes += size
        if self.body_bytes > self._progress_bytes:
            self._progress_bytes = self.body_bytes
            self._progress_at = self._loop.time()
        if self.read_bytes - FRAMING * self.body_bytes > self._edge.max_head_bytes:
            return BadRequest("There is more around the body than in it")
        return None

    def go_on(self) -> None:
        """Restart the time limit, because the gateway was not reading."""
        if self._in_body:
            self.await_body()
        else:
            self.await_head()

    def waited_s(self) -> float:
        """Seconds since the request's head began, or its body was waited for; 0 for one that came in one read."""
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
            self._on_late(RequestTimeout("The rest of the request did not come, or too slowly"))


class Idle:
    """A connection between two requests, ended by `on_idle` when nothing comes for `idle_s`.

    `since`, on the loop's clock, is when it began to wait; 0 while it does not, which the first byte of a request makes it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, idle_s: float, on_idle: Callable[[], None]) -> None:
        self.since = 0.0
        self._loop = loop
        self._idle_s = idle_s
        self._on_idle = on_idle
        self._alarm = Alarm(loop, self._on_time)

    def begin(self) -> None:
        """A request is answered, and no other is there."""
        self.since = self._loop.time()
        self._alarm.ring_by(self.since + self._idle_s)

    def stop(self) -> None:
        """The connection is gone."""
        self._alarm.stop()

    def _on_time(self) -> None:
        if not self.since:
            return
        until = self.since + self._idle_s
        if self._loop.time() < until - EARLY_S:
            self._alarm.ring_by(until)
        else:
            self._on_idle()
