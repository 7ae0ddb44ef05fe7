"""The queue: who gets the next seat. Today first come, first served.

A call holds no seat while it waits. It has a Place, asks it for a Permit each time it is about to ask an engine, and keeps
its rank. Calls of the gateway's own go first where seats are reserved for them: they never wait for a call that waits for
them.
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


# Structs: their constructors are C, and every call makes one of each.
class Permit(msgspec.Struct):
    """A seat of an engine, held until it is given back."""

    deployment: Deployment
    internal: bool = False
    held: bool = True

    def release(self) -> None:
        """Give the seat back; later calls do nothing."""
        if self.held:
            self.held = False
            self.deployment.seats.release(internal=self.internal)


class Place(msgspec.Struct):
    """A call's rank among all that wait. It lasts for as many rounds as the call needs.

    `internal`: a call of the gateway's own; `bound`: one that another call waits for.
    """

    rank: int
    clock: Clock
    internal: bool = False
    bound: bool = False

    def try_dispatch(self, candidates: Sequence[Deployment]) -> Permit | None:
        """A permit for the first candidate with a free seat for which no other call waits; None where there is none."""
        for deployment in candidates:
            seats = deployment.seats
            if (self.internal or not seats.waiting) and seats.try_take(internal=self.internal):
                return Permit(deployment, self.internal)
        return None

    async def dispatch(self, candidates: Sequence[Deployment], deadline: float) -> Permit:
        """A permit for the first candidate with a free seat, waiting until one has.

        `deadline` is on the clock. Raises DeadlineExceeded, Overloaded where the line of every candidate is full, and
        NotSupported for a call that another one waits for, where no candidate keeps a seat for those: the two could wait
        for each other.
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
                # The seat came in the same moment as the end of the wait.
                waiter.turn.result().release(internal=self.internal)
        deployment = next(one for one in candidates if one.seats is found)
        return Permit(deployment, self.internal)


class Queue:
    """Gives out places, first come, first served."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ranks = count()

    def enter(self, *, internal: bool = False, bound: bool = False) -> Place:
        """Return a place for one call, without waiting. See `Place` for the two flags."""
        return Place(next(self._ranks), self._clock, internal, bound)
