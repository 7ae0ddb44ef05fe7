"""What is consumed of one limit: a bucket for a minute, a counter for a day or a month, a gauge of concurrent calls.

The three kinds have the same methods. Each method gets the present time, so that all meters of a call see the same one.
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Protocol, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from tidegate.kernel.bucket import Bucket, Rate
from tidegate.kernel.calendar import Counter, day_of, month_of
from tidegate.types import Limit, Per, PeriodCount

MOST_AMOUNT = 2**53
"""The largest amount that is charged at once. Up to it, an integer can be converted to a float exactly."""
_MOST_KEPT = 2**63 - 1
"""The largest integer that databases have."""


class Now(msgspec.Struct, frozen=True):
    """One moment on both clocks: microseconds of the monotonic one, and seconds since the epoch."""

    us: int
    wall_s: float


class Meter(Protocol):
    """The consumption of one limit.

    `limit` is the limit as last seen, `held` counts the open reservations, and `since` is the start of the present period.
    `take` reserves an amount if it fits, and returns what is left, or None if it does not fit. `charge` adds an amount in
    any case, or takes a negative one back. `settle` ends a reservation made at `at_us` with what was really used, or None
    where that is not known. `wait_s` has the seconds until an amount fits, or None where the time cannot be
    known. `standing` has the amount that is left and the seconds until nothing is used.
    """

    limit: Limit
    held: int

    @property
    def since(self) -> int: ...
    def adopt(self, limit: Limit, now: Now) -> None: ...
    def take(self, amount: int, now: Now) -> int | None: ...
    def charge(self, amount: int, now: Now) -> None: ...
    def settle(self, reserved: int, used: int | None, now: Now, at_us: int) -> None: ...
    def wait_s(self, amount: int, now: Now) -> float | None: ...
    def standing(self, now: Now) -> tuple[int, float]: ...
    def used(self, now: Now) -> int: ...


Unwritten: TypeAlias = "dict[str, Calendar | PeriodCount]"
"""The counts of days and months that a store does not have yet, by bucket. A meter stands for its present count."""


def meter(limit: Limit, now: Now, unwritten: Unwritten) -> Meter:
    """Make the meter of a limit of which nothing is used yet. `unwritten` is for the counts of days and months."""
    match limit.per:
        case Per.MINUTE:
            return Minute(limit, now)
        case Per.CALL:
            return Gauge(limit)
        case _:
            return Calendar(limit, now, unwritten)


class Minute:
    """A token bucket."""

    __slots__ = ("bucket", "held", "limit")
    since = 0

    def __init__(self, limit: Limit, now: Now) -> None:
        self.limit = limit
        self.held = 0
        self.bucket = Bucket(_rate(limit), now.us)

    def adopt(self, limit: Limit, now: Now) -> None:
        self.limit = limit
        self.bucket.change_rate(_rate(limit), now.us)

    def take(self, amount: int, now: Now) -> int | None:
        return None if amount > self.limit.most else self.bucket.take(amount, now.us)

    def charge(self, amount: int, now: Now) -> None:
        self.bucket.settle(amount, now.us)

    def settle(self, reserved: int, used: int | None, now: Now, at_us: int) -> None:  # noqa: ARG002  (no periods)
        if used is not None and used != reserved:
            # `min` would cost as much as the rest.
            self.bucket.settle((MOST_AMOUNT if used > MOST_AMOUNT else used) - reserved, now.us)  # noqa: FURB136

    def wait_s(self, amount: int, now: Now) -> float | None:
        return self.bucket.wait_us(amount, now.us) / 1e6

    def standing(self, now: Now) -> tuple[int, float]:
        left, reset_us = self.bucket.standing(now.us)
        return left, reset_us / 1e6

    def used(self, now: Now) -> int:
        return self.bucket.rate.capacity - self.bucket.standing(now.us)[0]


class Calendar:
    """A count for the present day or month. `turned_us` is when the present period was seen first.

    Whenever the count changes, the meter adds itself to `unwritten`.
    """

    __slots__ = ("counter", "held", "limit", "turned_us", "unwritten")

    def __init__(self, limit: Limit, now: Now, unwritten: Unwritten) -> None:
        self.limit = limit
        self.unwritten = unwritten
        self.held = 0
        self.turned_us = now.us
        self.counter = Counter(day_of if limit.per is Per.DAY else month_of, _zone(limit.zone), now.wall_s)

    def adopt(self, limit: Limit, now: Now) -> None:
        if limit.zone != self.limit.zone:
            self._present(now).change_zone(_zone(limit.zone), now.wall_s)
            self.unwritten[limit.bucket] = self
        self.limit = limit

    def resume(self, kept: PeriodCount, now: Now, *, add: bool) -> None:
        """Take over what a store has counted, if its period still runs.

        With `add`, the store's count comes on top of what was counted here. Otherwise the larger one holds.
        """
        counter = self._present(now)
        if counter.resume(kept.since, kept.until, now.wall_s):
            counter.used = counter.used + kept.used if add else max(counter.used, kept.used)

    @property
    def count(self) -> PeriodCount:
        """The count as a store keeps it."""
        counter = self.counter
        used = min(counter.used, _MOST_KEPT)
        return PeriodCount(self.limit.bucket, counter.start_s, counter.end_s, used)

    def take(self, amount: int, now: Now) -> int | None:
        counter = self._present(now)
        left = self.limit.most - counter.used - amount
        if left < 0:
            return None
        counter.used += amount
        self.unwritten[self.limit.bucket] = self
        return left

    def charge(self, amount: int, now: Now) -> None:
        counter = self._present(now)
        counter.used = max(0, counter.used + amount)
        self.unwritten[self.limit.bucket] = self

    def settle(self, reserved: int, used: int | None, now: Now, at_us: int) -> None:
        counter = self._present(now)
        # What was reserved in a period that has ended belongs to that period.
        if used is not None and used != reserved and at_us >= self.turned_us:
            change = (MOST_AMOUNT if used > MOST_AMOUNT else used) - reserved  # noqa: FURB136
            counter.used = max(0, counter.used + change)
            self.unwritten[self.limit.bucket] = self

    def wait_s(self, amount: int, now: Now) -> float | None:
        left, resets_s = self.standing(now)
        return 0.0 if amount <= left else resets_s or self.counter.end_s - now.wall_s

    def standing(self, now: Now) -> tuple[int, float]:
        used = self.used(now)
        return self.limit.most - used, self.counter.end_s - now.wall_s if used else 0.0

    def used(self, now: Now) -> int:
        return self._present(now).used

    @property
    def since(self) -> int:
        return self.counter.start_s

    def _present(self, now: Now) -> Counter:
        counter = self.counter
        if now.wall_s >= counter.end_s:
            counter.turn(now.wall_s)
            self.turned_us = now.us
            self.unwritten.pop(self.limit.bucket, None)
        return counter


class Gauge:
    """A number of concurrent calls. Nobody knows when one of them ends, so there is no time to wait for."""

    __slots__ = ("calls", "held", "limit")
    since = 0

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.held = 0
        self.calls = 0

    def adopt(self, limit: Limit, now: Now) -> None:  # noqa: ARG002  (a gauge has no time)
        self.limit = limit

    def take(self, amount: int, now: Now) -> int | None:  # noqa: ARG002  (the same)
        left = self.limit.most - self.calls - amount
        if left < 0:
            return None
        self.calls += amount
        return left

    def charge(self, amount: int, now: Now) -> None:  # noqa: ARG002  (the same)
        self.calls += amount

    def settle(self, reserved: int, used: int | None, now: Now, at_us: int) -> None:  # noqa: ARG002  (the same)
        self.calls -= reserved

    def wait_s(self, amount: int, now: Now) -> float | None:  # noqa: ARG002  (the same)
        return 0.0 if self.calls + amount <= self.limit.most else None

    def standing(self, now: Now) -> tuple[int, float]:  # noqa: ARG002  (the same)
        return self.limit.most - self.calls, 0.0

    def used(self, now: Now) -> int:  # noqa: ARG002  (the same)
        return self.calls


def _rate(limit: Limit) -> Rate:
    # A limit of 0 lets nothing through, and the limiter says so before it asks a bucket.
    return Rate(limit.burst or max(1, limit.most), max(1, limit.most))


def _zone(name: str) -> tzinfo:
    # UTC is there without a database of time zones.
    return UTC if name == "UTC" else ZoneInfo(name)
