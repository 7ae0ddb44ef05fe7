"""The seats of an engine: how many calls it gets at once, and who takes the next one.

Seats are kept by an engine's name for as long as the process lives, so a reload can never hand out more of them than the
limit. A call holds no seat while it waits: it has a Place, asks it for a Permit each time it is about to ask an engine, and
keeps its rank. Calls over the limit wait first come, first served, within bounds.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING

from tidegate.errors import DeadlineExceeded, Overloaded
from tidegate.ports import Clock

if TYPE_CHECKING:
    from tidegate.types import Deployment

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
        self._line: list[_Waiter] = []

    @property
    def waiting(self) -> int:
        """Calls in line."""
        return len(self._line)

    def set_limit(self, limit: int | None, *, reserved: int = 0) -> None:
        """A new limit, at once: a higher one lets those in line go on, a lower one holds for the next who ask."""
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

    def join_line(self, waiter: _Waiter) -> None:
        """Wait here, by rank. Raises Overloaded where too many do."""
        if len(self._line) >= MAX_WAITING:
            raise Overloaded("the engine is busy and its line is full", retry_after_s=5)
        insort(self._line, waiter, key=_rank)

    def leave_line(self, waiter: _Waiter) -> None:
        """Wait here no longer; one who is not in line may say so too."""
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


class _Waiter:
    """One call in the lines of every engine that could serve it."""

    __slots__ = ("internal", "rank", "seats", "turn")

    def __init__(self, rank: int, seats: Sequence[Seats], *, internal: bool) -> None:
        self.rank = rank
        self.internal = internal
        self.seats = seats
        self.turn: asyncio.Future[Seats] = asyncio.get_running_loop().create_future()

    def leave_all(self) -> None:
        for seats in self.seats:
            seats.leave_line(self)


def _rank(waiter: _Waiter) -> tuple[bool, int]:
    return (not waiter.internal, waiter.rank)


class Permit:
    """A seat of an engine, held until it is given back."""

    __slots__ = ("_held", "_internal", "deployment")

    def __init__(self, deployment: Deployment, *, internal: bool) -> None:
        self.deployment = deployment
        self._internal = internal
        self._held = True

    def release(self) -> None:
        """Give the seat back; later calls do nothing."""
        if self._held:
            self._held = False
            self.deployment.seats.release(internal=self._internal)


class Place:
    """A call's rank among all that wait. It lasts for as many rounds as the call needs."""

    __slots__ = ("_clock", "_internal", "_rank")

    def __init__(self, rank: int, clock: Clock, *, internal: bool = False) -> None:
        self._rank = rank
        self._clock = clock
        self._internal = internal

    async def dispatch(self, candidates: Sequence[Deployment], deadline: float) -> Permit:
        """A permit for the first candidate with a free seat, waiting until one has.

        `deadline` is on the clock. Raises DeadlineExceeded, and Overloaded where the line of every candidate is full.
        """
        for deployment in candidates:
            seats = deployment.seats
            if not (seats.waiting and not self._internal) and seats.try_take(internal=self._internal):
                return Permit(deployment, internal=self._internal)
        return await self._wait(candidates, deadline)

    async def _wait(self, candidates: Sequence[Deployment], deadline: float) -> Permit:
        waiter = _Waiter(self._rank, [one.seats for one in candidates], internal=self._internal)
        full = 0
        for seats in waiter.seats:
            try:
                seats.join_line(waiter)
            except Overloaded:
                full += 1
                if full == len(candidates):
                    raise
        taken = False
        try:
            async with asyncio.timeout(deadline - self._clock()):
                found = await waiter.turn
            taken = True
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed while waiting for the engine") from error
        finally:
            waiter.leave_all()
            if not taken and waiter.turn.done() and not waiter.turn.cancelled():
                # The seat came in the same moment as the end of the wait.
                waiter.turn.result().release(internal=self._internal)
        deployment = next(one for one in candidates if one.seats is found)
        return Permit(deployment, internal=self._internal)


class Queue:
    """Gives out places, first come, first served."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ranks = count()

    def enter(self, *, internal: bool = False) -> Place:
        """A place for one call, at the door; nobody waits here. `internal`: a call of the gateway's own."""
        return Place(next(self._ranks), self._clock, internal=internal)
