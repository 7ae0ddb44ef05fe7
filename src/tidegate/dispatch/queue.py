"""The queue: decides at the door which calls may wait for a seat, and gives each of them a Place.

A call is refused at the door if it would wait too long: if the predicted wait is over 0.8 of the time that is left of its
class's longest wait and of its deadline. It is also refused if the queue is full of calls that go before it; otherwise a
call behind it has to leave. So those who are served are served in time, however many are refused.

A waiting call holds no seat. It holds a Place, which gives it a Permit for each engine call. The call keeps its rank
between engine calls, and its age counts from the moment it entered, also while it is not ready for a seat. Internal calls,
which the gateway makes itself, go before clients' calls and may use reserved seats. Otherwise an internal call could wait
for the client's call that waits for it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from types import MappingProxyType

from tidegate.dispatch.bounds import Bounds
from tidegate.dispatch.deployments import Deployment, seats_of
from tidegate.dispatch.forecast import Forecast, Outlook, forecast
from tidegate.dispatch.place import Permit, Place
from tidegate.dispatch.retry_after import RetryAfter
from tidegate.dispatch.rules import Needs, QueueRules
from tidegate.dispatch.seats import Seats, Waiter
from tidegate.errors import DeadlineExceeded, Overloaded
from tidegate.kernel.fairqueue import INPUT, OUTPUT, OWN
from tidegate.ports import Clock
from tidegate.types import Usage

BOUND = 0.8
"""A call is refused if its predicted wait is over this share of the time that it can wait."""
_RECENT_S = 5.0
"""The queue counts as overloaded for so long after it has refused a call."""


_OWN_NEEDS = Needs(OWN)


class Queue:
    """All calls that wait, and what was refused. It lasts as long as the process."""

    def __init__(
        self,
        clock: Clock,
        rules: QueueRules | None = None,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` returns a number from 0 to 1."""
        self.clock = clock
        self.bounds = Bounds(rules or QueueRules())
        self.refusals: dict[tuple[str, str], int] = {}
        """The number of refused calls, by class and reason."""
        self.observe: Callable[[Place], None] = _ignore
        """Is told of every call that has waited for a seat and got one."""
        self._retry_after = RetryAfter(jitter)
        self._ranks = count()
        self._refused_at = float("-inf")

    @property
    def rules(self) -> QueueRules:
        """The bounds in force."""
        return self.bounds.rules

    def configure(self, rules: QueueRules) -> None:
        """Set the bounds. The calls that wait keep their places."""
        self.bounds.rules = rules

    # -- the door ------------------------------------------------------------------------------------------------------

    def enter(self, priority: str, describe: Callable[[], Needs], deployments: Sequence[Deployment]) -> Place:
        """Return a place for a client's call of a class, which these deployments could serve. Raises Overloaded.

        `describe` returns the call's needs.
        """
        place = Place(next(self._ranks), self, priority, self.clock())
        for one in deployments:
            if not one.seats.line.size and one.seats.has_free():
                return place
        place.needs = describe()
        self._admit(place, place.needs, seats_of(deployments))
        return place

    def enter_own(self) -> Place:
        """Return a place for a call of the gateway's own, which is never refused at the door."""
        return Place(next(self._ranks), self, OWN, self.clock(), internal=True, needs=_OWN_NEEDS)

    def foretell(self, needs: Needs, seats: Sequence[Seats]) -> Outlook:
        """Return what a client's call would have to expect if it came now and these engines could serve it."""
        now = self.clock()
        if any(not one.line.size and one.has_free() for one in seats):
            return Outlook(needs.priority)
        place = Place(-1, self, needs.priority, now, needs=needs)
        expected = self._forecast(needs, seats, now)
        refused = self.bounds.full_with(needs)
        if refused is not None and self._behind(needs, seats) is not None:
            refused = None  # a call behind this one would leave
        if self._is_late(place, expected, needs.deadline, seats):
            refused = "wait"
        retry_s = self._retry_after.least_s(needs.priority, expected, now) if refused else 0.0
        wait_s = None if expected.rate == float("inf") else expected.wait_s
        return Outlook(needs.priority, expected.position, wait_s, refused or "", retry_s)

    def _admit(self, place: Place, needs: Needs, seats: Sequence[Seats]) -> None:
        """Count the call as waiting. Raises Overloaded if it would wait too long, or if there is no room for it."""
        now = place.entered_at
        expected = self._forecast(needs, seats, now)
        place.predicted_s, place.position = expected.wait_s, expected.position
        if self._is_late(place, expected, needs.deadline, seats):
            raise self._refuse(place, needs, "wait", expected)
        self._count_in(place, needs, seats, expected)

    def _forecast(self, needs: Needs, seats: Sequence[Seats], now: float) -> Forecast:
        ready = [one for one in seats if one.ready] or seats
        return forecast(ready, needs.priority, needs.tenant, needs.deadline, now)

    def _until(self, place: Place, deadline: float, seats: Sequence[Seats]) -> float:
        """Return when a call has to have its seat, so that the engine's first byte still comes in time."""
        longest_s = self.rules.longest(place.priority)
        first_byte_s = min(longest_s / 2, *(one.drain.first_byte_s for one in seats))
        return min(deadline, place.entered_at + longest_s - first_byte_s)

    def _is_late(self, place: Place, expected: Forecast, deadline: float, seats: Sequence[Seats]) -> bool:
        """Whether the call would wait too long to be let in."""
        left_s = self._until(place, deadline, seats) - place.entered_at
        return expected.wait_s > BOUND * left_s or expected.surely_s > left_s

    # -- the bounds ----------------------------------------------------------------------------------------------------

    def _count_in(
        self, place: Place, needs: Needs, seats: Sequence[Seats], expected: Forecast | None = None
    ) -> None:
        """Count a call as waiting. Calls behind it have to leave until there is room. Raises Overloaded if none is."""
        while not place.internal and (bound := self.bounds.full_with(needs)) is not None:
            behind = self._behind(needs, seats)
            if behind is None:
                raise self._refuse(place, needs, bound, expected)
            behind.give_way()
        place.counted = True
        self.bounds.add(place.rank, needs)

    def count_out(self, place: Place) -> None:
        """Count a call as no longer waiting."""
        place.counted = False
        self.bounds.remove(place.rank)

    def _behind(self, needs: Needs, seats: Sequence[Seats]) -> Waiter | None:
        for one in seats:
            behind = one.line.newest(needs.priority, needs.tenant)
            if behind is not None:
                return behind
        return None

    def _shed(self, place: Place, needs: Needs, waiter: Waiter) -> None:
        waiter.leave()
        place.leave()
        if waiter.turn.done():
            return  # its task was cancelled in this turn of the loop
        waiter.turn.set_exception(self._refuse(place, needs, "shed"))

    def _refuse(
        self, place: Place, needs: Needs, reason: str, expected: Forecast | None = None
    ) -> Overloaded:
        """Return the refusal of a call, with the time after which it is likely to be served."""
        now, name = self.clock(), place.priority
        self.refusals[name, reason] = self.refusals.get((name, reason), 0) + 1
        self._refused_at = now
        expected = expected or Forecast(place.predicted_s, place.predicted_s, place.position, 0.0)
        retry_s = self._retry_after.promise(name, needs.work, expected, now)
        error = Overloaded(_REASONS[reason], retry_after_s=retry_s)
        told = (
            name.encode(),
            reason.encode(),
            place.position,
            self.bounds.utilization,
            1000 * place.predicted_s,
        )
        error.queue = _REFUSED % told
        return error

    # -- seats ---------------------------------------------------------------------------------------------------------

    def permit(
        self, place: Place, deployment: Deployment, *, charged: bool = False, early: bool = False
    ) -> Permit:
        """Return the permit for a seat that the place has just taken. `early` is that of the call in line."""
        now, seats = self.clock(), deployment.seats
        needs, place.seated = place.needs, True
        seats.work += place.work
        seats.drain.begin(place.priority, needs and needs.work, seats.in_flight - 1, now, early=early)
        if place.counted:
            self.count_out(place)
        return Permit(deployment, place, now, charged)

    def give_back(self, permit: Permit, usage: Usage | None, expected: Needs | None) -> None:
        """Free the seat of a permit; see `Permit.release`."""
        place, seats, now = permit.place, permit.deployment.seats, self.clock()
        seats.work -= place.work
        # The rate is measured in expected work, as the work that waits is, so that errors of all expectations cancel out.
        # What is expected now counts, because expectations change.
        seats.drain.end(expected and expected.work, now - permit.taken_at, seats.in_flight, now)
        if permit.charged and usage is not None and (needs := place.needs) is not None:
            more = INPUT * usage.prompt_tokens + OUTPUT * usage.completion_tokens - needs.work
            seats.line.charge(needs.priority, needs.tenant, more)
        seats.release(internal=place.internal)

    async def wait(
        self, place: Place, needs: Needs, candidates: Sequence[Deployment], deadline: float
    ) -> Permit:
        """Wait for a seat of one of the candidates; see `Place.dispatch`."""
        seats = seats_of(candidates)
        if not place.counted:
            self._count_in(place, needs, seats)
        waiter = self._join(place, needs, seats, deadline)
        # A call that has been at an engine may have passed the longest wait of its class there.
        taken, until = False, deadline if place.seated else self._until(place, deadline, seats)
        try:
            async with asyncio.timeout(until - self.clock()):
                found = await waiter.turn
            taken = True
        except TimeoutError as error:
            if until < deadline:
                raise self._refuse(place, needs, "timeout") from error
            raise DeadlineExceeded("The deadline passed while the call waited for an engine") from error
        finally:
            waiter.leave()
            place.leave()
            if not taken and (turn := waiter.turn).done() and not turn.cancelled() and not turn.exception():
                # The wait was cut short in the same moment as the seat was assigned: return the seat.
                turn.result().release(internal=place.internal)
        place.waited_s = max(self.clock() - place.entered_at, 1e-6)
        if not (place.internal or place.seated):
            self.observe(place)
        deployment = next(one for one in candidates if one.seats is found)
        return self.permit(place, deployment, charged=True, early=waiter.early)

    def _join(self, place: Place, needs: Needs, seats: Sequence[Seats], deadline: float) -> Waiter:
        waiter = Waiter(
            place.rank,
            needs.priority,
            needs.tenant,
            deadline=deadline,
            entered_at=place.entered_at,
            work=needs.work,
            lines=len(seats),
        )
        waiter.seats, waiter.internal = seats, place.internal
        waiter.give_way = partial(self._shed, place, needs, waiter)
        waiter.turn = asyncio.get_running_loop().create_future()
        for one in seats:
            one.line.add(waiter)
        return waiter

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """`healthy`, `degraded` if a bound is nearly reached, or `overloaded` if calls were refused lately."""
        if self.clock() - self._refused_at < _RECENT_S:
            return "overloaded"
        return "degraded" if self.bounds.utilization > self.rules.warn else "healthy"


def _ignore(place: Place) -> None:
    del place


_REFUSED = b"class=%b;rejected=%b;position=%d;utilization=%.2f;predicted_ms=%.0f"
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "wait": "The gateway is busy: the call would wait too long for an engine",
        "size": "The gateway is busy: too many calls wait for an engine",
        "work": "The gateway is busy: too much work waits for an engine",
        "bytes": "The gateway is busy: the requests that wait for an engine fill its memory",
        "shed": "The gateway is busy: calls with a higher priority took this one's place in the queue",
        "timeout": "The gateway is busy: the call has waited for an engine as long as its class may",
    }
)
