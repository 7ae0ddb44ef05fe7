"""What a call holds of the queue: its place, and a permit for each engine call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from tidegate.dispatch.bounds import Bounds
from tidegate.dispatch.deployments import Deployment
from tidegate.dispatch.rules import Needs
from tidegate.kernel.adaptive import Asked
from tidegate.types import Usage


class Keeper(Protocol):
    """The queue, as its places and permits use it."""

    bounds: Bounds

    def permit(self, place: Place, deployment: Deployment) -> Permit: ...
    async def wait(
        self, place: Place, needs: Needs, candidates: Sequence[Deployment], deadline: float
    ) -> Permit: ...
    def count_out(self, place: Place) -> None: ...
    def give_back(self, permit: Permit, usage: Usage | None, expected: Needs | None) -> None: ...


# Structs, because their constructors are written in C and every call makes one of each class.
class Permit(msgspec.Struct):
    """A seat of an engine, taken until `release`."""

    deployment: Deployment
    place: Place
    taken_at: float
    charged: bool = False
    held: bool = True
    asked: Asked | None = None

    def streams(self, prompt_tokens: int) -> None:
        """Note that the engine is asked for a stream now: the time to its first byte tells whether the engine keeps up."""
        adaptive = self.deployment.seats.adaptive
        if adaptive is not None:
            self.asked = adaptive.asked(prompt_tokens, self.taken_at)

    def answered(self, now: float) -> None:
        """Note the first byte of a stream."""
        self.deployment.seats.drain.answered(now - self.taken_at)
        if (asked := self.asked) is not None:
            asked.limit.answered(asked, now)

    def refused(self) -> None:
        """Note that the engine refused the call for lack of capacity."""
        self.deployment.seats.refused()

    def release(self, usage: Usage | None = None, expected: Needs | None = None) -> None:
        """Give the seat back. Later calls have no effect.

        `usage` is what the engine reported, if it did. `expected` is what would be expected of the call now.
        """
        if self.held:
            self.held = False
            if (asked := self.asked) is not None:
                # Not the limit that the seats have now: a reload may have made another, which does not know of this call.
                asked.limit.ended(asked, usage and usage.prompt_tokens - usage.cached_tokens)
            self.place.queue.give_back(self, usage, expected)

    def decline(self) -> None:
        """Give the seat back without having asked the engine."""
        if self.held:
            self.held = False
            seats, place = self.deployment.seats, self.place
            seats.work -= place.work
            seats.release(internal=place.internal)


class Place(msgspec.Struct):
    """A call's rank in the queue. The call keeps it for all its engine calls.

    `internal` is true for a call that the gateway itself makes. `predicted_s` and `position` are those at the door; a call
    that found a free seat has 0 of each. A call that waits has `needs`. It takes longer to find them out than everything
    else here, so a call that finds a free seat has none. `work` is what the call adds to the load of an engine, in tokens;
    0 where nothing is chosen by load. `seated` is true once the call had a seat: a later wait is not the one that was
    predicted.
    """

    rank: int
    queue: Keeper
    priority: str
    entered_at: float
    internal: bool = False
    needs: Needs | None = None
    counted: bool = False
    predicted_s: float = 0.0
    position: int = 0
    waited_s: float = 0.0
    work: int = 0
    seated: bool = False

    def try_dispatch(self, candidates: Sequence[Deployment]) -> Permit | None:
        """Take a seat of the first candidate that has one free and no calls in line. Returns None if there is no such one.

        An internal call may go before the calls in line.
        """
        internal = self.internal
        for deployment in candidates:
            seats = deployment.seats
            if (internal or not seats.line.size) and seats.try_take(internal=internal):
                return self.queue.permit(self, deployment)
        return None

    async def dispatch(
        self, candidates: Sequence[Deployment], deadline: float, describe: Callable[[], Needs]
    ) -> Permit:
        """Take a seat of the first candidate that has one free; wait until there is one.

        `deadline` is in seconds of the clock. `describe` returns the call's needs. Raises DeadlineExceeded, and Overloaded
        if the queue has no room or the call has waited for the longest wait of its class. A call that had a seat before may
        wait until its deadline.
        """
        permit = self.try_dispatch(candidates)
        if permit is not None:
            return permit
        if self.needs is None:
            self.needs = describe()
        return await self.queue.wait(self, self.needs, candidates, deadline)

    def leave(self, error: BaseException | None = None) -> None:
        """Count the call as no longer waiting. It may be counted again if it waits again."""
        del error
        if self.counted:
            self.queue.count_out(self)

    def told(self) -> bytes:
        """Return the value of the header `x-tidegate-queue`."""
        if not self.waited_s:
            return _AT_ONCE % self.priority.encode()
        times = 1000 * self.predicted_s, 1000 * self.waited_s
        return _WAITED % (self.priority.encode(), self.position, self.queue.bounds.utilization, *times)


_AT_ONCE = b"class=%b;position=0"
_WAITED = b"class=%b;position=%d;utilization=%.2f;predicted_ms=%.0f;waited_ms=%.0f"
