"""The seats of an engine: they limit how many calls the engine gets at once.

Seats belong to an engine's name and last as long as the process, so calls from before and after a reload share one limit.
Calls over the limit wait in a line of bounded length, first come, first served.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Sequence

from tidegate.errors import Overloaded

MAX_WAITING = 1024


class Seats:
    """The seats of one engine. `limit` None means that the gateway sets no limit.

    `reserved` is the number of seats that only internal calls may take. `ready` tells whether the engine is ready.
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
        """The number of calls in line."""
        return len(self._line)

    def set_limit(self, limit: int | None, *, reserved: int = 0) -> None:
        """Set a new limit. A higher limit lets waiting calls continue at once. A lower limit ends no running call."""
        self.limit, self.reserved = limit, reserved
        self._serve_line()

    def try_take(self, *, internal: bool = False) -> bool:
        """Take a seat if one is free, even while calls wait in line. Return whether a seat was taken."""
        if self.limit is not None:
            clients_full = self.in_flight - self._internal >= self.limit - self.reserved
            if self.in_flight >= self.limit or (clients_full and not internal):
                return False
        self.in_flight += 1
        self._internal += internal
        return True

    def release(self, *, internal: bool = False) -> None:
        """Give a seat back. The first call in line that may use the seat gets it."""
        self.in_flight -= 1
        self._internal -= internal
        if self._line:
            self._serve_line()

    def join_line(self, waiter: Waiter) -> None:
        """Put a call in line, by its rank. Raises Overloaded if the line is full."""
        if len(self._line) >= MAX_WAITING:
            raise Overloaded("the engine is busy and its line is full", retry_after_s=5)
        insort(self._line, waiter, key=_rank)

    def leave_line(self, waiter: Waiter) -> None:
        """Remove a call from the line, if it is in line."""
        if waiter in self._line:
            self._line.remove(waiter)

    def _serve_line(self) -> None:
        for waiter in list(self._line):
            if waiter.turn.done():
                continue
            if self.try_take(internal=waiter.internal):
                waiter.turn.set_result(self)
                waiter.leave_all()
            elif waiter.internal:  # if an internal call gets no seat, no call behind it can
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
        """Leave all lines."""
        for seats in self.seats:
            seats.leave_line(self)


def _rank(waiter: Waiter) -> tuple[bool, int]:
    return (not waiter.internal, waiter.rank)
