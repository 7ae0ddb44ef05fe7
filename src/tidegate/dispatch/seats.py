"""The seats of an engine: how many calls it gets at once, and who takes the next one.

Seats are kept by an engine's name for as long as the process lives, so a reload can never hand out more of them than the
limit. Calls over the limit wait first come, first served, within bounds.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Sequence

from tidegate.errors import Overloaded

MAX_WAITING = 1024


class Seats:
    """The seats of one engine. `limit` None means that the engine bounds itself.

    `reserved` seats are kept for calls of the gateway's own: clients never take them. `ready` is what the last probe of the
    engine found.
    """

    def __init__(self, limit: int | None = None, *, reserved: int = 0) -> None:
        self.limit = limit
        self.reserved = reserved
        self.in_flight = 0
        self.ready = False
        self._internal = 0
        self._line: list[Waiter] = []

    @property
    def waiting(self) -> int:
        """Calls in line."""
        return len(self._line)

    def set_limit(self, limit: int | None, *, reserved: int = 0) -> None:
        """Set a new limit. A higher one lets waiting calls go on at once; a lower one applies to later calls."""
        self.limit, self.reserved = limit, reserved
        self._serve_line()

    def try_take(self, *, internal: bool = False) -> bool:
        """Take a seat if one is free, whoever waits."""
        if self.limit is not None:
            clients_full = self.in_flight - self._internal >= self.limit - self.reserved
            if self.in_flight >= self.limit or (clients_full and not internal):
                return False
        self.in_flight += 1
        self._internal += internal
        return True

    def release(self, *, internal: bool = False) -> None:
        """Return a seat; the first in line who may have it gets it."""
        self.in_flight -= 1
        self._internal -= internal
        if self._line:
            self._serve_line()

    def join_line(self, waiter: Waiter) -> None:
        """Wait here, by rank. Raises Overloaded where too many do."""
        if len(self._line) >= MAX_WAITING:
            raise Overloaded("the engine is busy and its line is full", retry_after_s=5)
        insort(self._line, waiter, key=_rank)

    def leave_line(self, waiter: Waiter) -> None:
        """Leave the line. Has no effect for a call that is not in line."""
        if waiter in self._line:
            self._line.remove(waiter)

    def _serve_line(self) -> None:
        for waiter in list(self._line):
            if waiter.turn.done():
                continue
            if self.try_take(internal=waiter.internal):
                waiter.turn.set_result(self)
                waiter.leave_all()
            elif waiter.internal:  # those behind it have no more right to a seat
                break


class Waiter:
    """One call in the lines of every engine that could serve it."""

    __slots__ = ("internal", "rank", "seats", "turn")

    def __init__(self, rank: int, seats: Sequence[Seats], *, internal: bool) -> None:
        self.rank = rank
        self.internal = internal
        self.seats = seats
        self.turn: asyncio.Future[Seats] = asyncio.get_running_loop().create_future()

    def leave_all(self) -> None:
        """Wait nowhere any longer."""
        for seats in self.seats:
            seats.leave_line(self)


def _rank(waiter: Waiter) -> tuple[bool, int]:
    return (not waiter.internal, waiter.rank)
