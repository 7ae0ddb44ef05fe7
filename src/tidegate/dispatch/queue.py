"""The queue: decides which call gets the next seat. Today the order is first come, first served.

A waiting call holds no seat. It holds a Place, which gives it a Permit for each engine call. The call keeps its rank
between engine calls. Internal calls, which the gateway makes itself, go before clients' calls and may use reserved seats.
Otherwise an internal call could wait for the client's call that waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count

import msgspec

from tidegate.dispatch.deployments import Deployment
from tidegate.dispatch.seats import Waiter
from tidegate.errors import DeadlineExceeded, NotSupported, Overloaded
from tidegate.ports import Clock


# Structs, because their constructors are written in C and every call makes one of each class.
class Permit(msgspec.Struct):
    """A seat of an engine, taken until `release`."""

    deployment: Deployment
    internal: bool = False
    held: bool = True

    def release(self) -> None:
        """Give the seat back. Later calls have no effect."""
        if self.held:
            self.held = False
            self.deployment.seats.release(internal=self.internal)


class Place(msgspec.Struct):
    """A call's rank in the queue. The call keeps it for all its engine calls.

    `internal` is true for a call that the gateway itself makes, and `bound` if another call waits for its answer.
    """

    rank: int
    clock: Clock
    internal: bool = False
    bound: bool = False

    def try_dispatch(self, candidates: Sequence[Deployment]) -> Permit | None:
        """Take a seat of the first candidate that has one free and no calls in line. Returns None if there is no such one.

        An internal call may go before the calls in line.
        """
        for deployment in candidates:
            seats = deployment.seats
            if (self.internal or not seats.waiting) and seats.try_take(internal=self.internal):
                return Permit(deployment, self.internal)
        return None

    async def dispatch(self, candidates: Sequence[Deployment], deadline: float) -> Permit:
        """Take a seat of the first candidate that has one free; wait until there is one.

        `deadline` is a time of `clock`. Raises DeadlineExceeded, and Overloaded if the line of every candidate is full.
        Raises NotSupported if another call waits for this one and no candidate has reserved seats, since the two calls
        could wait for each other.
        """
        permit = self.try_dispatch(candidates)
        if permit is not None:
            return permit
        if self.bound and not any(one.seats.reserved for one in candidates):
            name = candidates[0].engine_name
            raise NotSupported(
                f"The engine '{name}' is full and keeps no seat for the gateway's own calls: set"
                f" engines.{name}.reserved_seats"
            )
        return await self._wait(candidates, deadline)

    async def _wait(self, candidates: Sequence[Deployment], deadline: float) -> Permit:
        waiter = Waiter(self.rank, [one.seats for one in candidates], internal=self.internal)
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
            async with asyncio.timeout(deadline - self.clock()):
                found = await waiter.turn
            taken = True
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed while waiting for the engine") from error
        finally:
            waiter.leave_all()
            if not taken and waiter.turn.done() and not waiter.turn.cancelled():
                # The wait was cut short in the same moment as the seat was assigned: return the seat.
                waiter.turn.result().release(internal=self.internal)
        deployment = next(one for one in candidates if one.seats is found)
        return Permit(deployment, self.internal)


class Queue:
    """Creates places, each ranked behind all earlier ones."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ranks = count()

    def enter(self, *, internal: bool = False, bound: bool = False) -> Place:
        """Return a place for one call. `Place` describes the two flags."""
        return Place(next(self._ranks), self._clock, internal, bound)
