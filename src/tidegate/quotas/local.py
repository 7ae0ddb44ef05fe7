"""The Limiter of one process: quotas in its own memory.

What a call needs of all its limits is reserved in one step of the event loop, or nothing is. What is consumed is stored
by the name of the limit's bucket and outlives reloads, so that a changed limit grants nothing extra. What a meter is and
how an amount fits is decided in `meters.py`; which limits a call meets is decided by the caller's policies.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import chain, count, islice

import msgspec

from tidegate.errors import BadRequest, Overloaded, RateLimited
from tidegate.ports import Clock, Wall
from tidegate.quotas.meters import MOST_AMOUNT, Calendar, Meter, Now, Unwritten, meter
from tidegate.quotas.refusals import never_fits, refusal
from tidegate.types import Consumption, Limit, PeriodCount, Ticket

MOST_METERS = 100_000
"""The meters that are kept for one level. Each takes about half a kilobyte."""
MOST_OF_A_KEY = 10_000
"""The meters of them that are kept for the end users of one key."""
ZONES_APART_S = 26 * 3600
"""What has ended in one time zone may run so much longer in another one, from UTC+14 to UTC-12."""
_LOOKED_AT = 2
_LOOKED_AT_WHEN_FULL = 64


class _Reservation(msgspec.Struct, frozen=True):
    """An open reservation: its ticket, the meter of each limit, and when it was made."""

    ticket: Ticket
    meters: list[Meter]
    at_us: int


_Group = OrderedDict[str, Meter]
"""Meters by their buckets. The ones that were looked at the longest time ago are first."""


class _Level:
    """The meters of one level: those of the end users of each key apart, and those of all other levels in one group."""

    __slots__ = ("groups", "size")

    def __init__(self) -> None:
        self.groups: OrderedDict[str, _Group] = OrderedDict()
        self.size = 0


class LocalLimiter:
    """Reserves quota in this process. Satisfies the port `Limiter`.

    At most `most_meters` limits of one level are kept, and of these at most `most_of_a_key` for the end users of one key. A
    limit of which nothing is consumed is forgotten when there is a new one. While none can be forgotten, calls that meet a
    new limit are refused with Overloaded.

    `unwritten` has the counts of days and months that have changed, and that `take_unwritten` has not taken yet.
    """

    def __init__(
        self,
        clock: Clock,
        wall: Wall,
        *,
        most_meters: int = MOST_METERS,
        most_of_a_key: int = MOST_OF_A_KEY,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._most = most_meters
        self._most_of_a_key = most_of_a_key
        self._meters: dict[str, Meter] = {}
        self._levels: dict[str, _Level] = {}
        self._open: dict[int, dict[str, _Reservation]] = {}  # by the second in which they expire
        self._second = 0
        self._serial = count(1)
        self.unwritten: Unwritten = {}
        self._kept: dict[str, PeriodCount] = {}  # of limits that have not been met yet
        self._kept_until = 0.0
        self._has_store = self._had_store = False

    def reserve(
        self, call_id: str, limits: tuple[Limit, ...], amounts: Sequence[int], *, until: float
    ) -> Ticket:
        now = self._now()
        if now.us // 1_000_000 != self._second:
            self._expire(now)
        known = self._meters
        meters: list[Meter] = []
        left: list[int] = []
        over: list[Limit] = []
        reserved = False
        try:
            for limit, amount in zip(limits, amounts, strict=True):
                one = known.get(limit.bucket)
                if one is None or one.limit is not limit:
                    one = self._meter(limit, now)
                remains = one.take(amount, now)
                if remains is None:
                    if one.limit.enforce:
                        break
                    if amount > MOST_AMOUNT:
                        amounts = [*amounts]
                        amounts[len(meters)] = MOST_AMOUNT
                    one.charge(amounts[len(meters)], now)
                    over.append(limit)
                one.held += 1  # at once, since making the next meter may forget idle ones
                meters.append(one)
                left.append(one.standing(now)[0] if remains is None else remains)
            else:
                ticket = Ticket(
                    f"{call_id}/{next(self._serial)}", limits, amounts, tuple(left), until, tuple(over)
                )
                second = int(until)
                same_second = self._open.get(second)
                if same_second is None:
                    same_second = self._open[second] = {}
                same_second[ticket.id] = _Reservation(ticket, meters, now.us)
                reserved = True
                return ticket
        finally:
            if not reserved:
                _take_back(amounts, meters, now)
        raise self._refusal(limits, amounts, len(meters), now)

    def settle(self, ticket: Ticket, used: Sequence[int]) -> None:
        unknown = len(ticket.limits) - len(used)
        self._end(ticket, [*used, *[None] * unknown] if unknown > 0 else used)

    def abandon(self, ticket: Ticket) -> None:
        self._end(ticket, [None] * len(ticket.limits))

    def adopt(self, limits: tuple[Limit, ...]) -> None:
        now = self._now()
        for limit in limits:
            if limit.bucket in self._meters:
                self._meter(limit, now)

    def resets_s(self, limit: Limit) -> float:
        one = self._meters.get(limit.bucket)
        return one.standing(self._now())[1] if one else 0.0

    def consumption(self, level: str = "", *, most: int = 1000) -> Sequence[Consumption]:
        now = self._now()
        self._expire(now)
        # The small levels first: very many end users do not hide the limits of their organisation.
        levels = [self._levels.get(level, _Level())] if level else [*self._levels.values()]
        levels.sort(key=lambda kept: kept.size)
        meters = chain.from_iterable(group.values() for kept in levels for group in kept.groups.values())
        return [
            Consumption(one.limit, one.used(now), *one.standing(now), one.since)
            for one in islice(meters, most)
        ]

    def count_on(self, kept: Iterable[PeriodCount]) -> None:
        """Count on from what a store has kept, and keep all counts of days and months for that store from now on.

        The first store has nothing of what was counted before it was there, so its counts are added. A later one may be a
        copy of the store before, so the larger count holds.
        """
        now = self._now()
        add = not self._had_store
        self._has_store = self._had_store = True
        self.unwritten.update(self._kept)
        for bucket, one in self._meters.items():
            if isinstance(one, Calendar) and one.used(now):
                self.unwritten[bucket] = one
        for found in kept:
            one = self._meters.get(found.bucket)
            if isinstance(one, Calendar):
                one.resume(found, now, add=add)
            else:
                self._keep(found)
        self._kept_until = min([one.until for one in self._kept.values()], default=0.0)

    def count_alone(self) -> None:
        """Count on in memory alone, because there is no store any more."""
        self._has_store = False
        self.unwritten.clear()

    def take_unwritten(self, most: int) -> Unwritten:
        """Take out the first counts that have changed, so many at most. `put_back` those that were not written."""
        return {bucket: self.unwritten.pop(bucket) for bucket in [*islice(self.unwritten, most)]}

    def put_back(self, taken: Unwritten) -> None:
        """Put back counts that were not written. Those that have changed since then stay as they are."""
        for bucket, one in taken.items():
            self.unwritten.setdefault(bucket, one)

    def forget_ended(self) -> float:
        """Forget what was kept of periods that have ended everywhere, and return the time up to which they have."""
        ended = self._wall() - ZONES_APART_S
        if self._kept and self._kept_until <= ended:
            self._kept = {bucket: one for bucket, one in self._kept.items() if one.until > ended}
            self._kept_until = min([one.until for one in self._kept.values()], default=0.0)
        return ended

    def _keep(self, found: PeriodCount) -> None:
        known = self._kept.get(found.bucket)
        if known is None or (known.since, known.used) <= (found.since, found.used):
            self._kept[found.bucket] = found
            self.unwritten.pop(found.bucket, None)

    def _now(self) -> Now:
        return Now(int(self._clock() * 1e6), self._wall())

    def _refusal(
        self, limits: tuple[Limit, ...], amounts: Sequence[int], at: int, now: Now
    ) -> BadRequest | RateLimited:
        never = never_fits([self._newest(limit) for limit in limits], amounts)
        return never or refusal(at, amounts, [self._meter(limit, now) for limit in limits], now)

    def _end(self, ticket: Ticket, used: Sequence[int | None]) -> None:
        same_second = self._open.get(int(ticket.until))
        reservation = same_second.pop(ticket.id, None) if same_second else None
        if reservation is None:
            return
        now, at_us = self._now(), reservation.at_us
        for amount, one, figure in zip(ticket.amounts, reservation.meters, used, strict=False):
            one.held -= 1
            one.settle(amount, figure, now, at_us)

    def _expire(self, now: Now) -> None:
        """Abandon the reservations that have not ended in their time."""
        self._second = second = now.us // 1_000_000
        for expired in [at for at in self._open if at < second]:
            for reservation in [*self._open[expired].values()]:
                self.abandon(reservation.ticket)
            del self._open[expired]

    def _newest(self, limit: Limit) -> Limit:
        one = self._meters.get(limit.bucket)
        return limit if one is None or one.limit.generation <= limit.generation else one.limit

    def _meter(self, limit: Limit, now: Now) -> Meter:
        """Return the meter of a limit that is new, or has changed since it was last seen."""
        one = self._meters.get(limit.bucket)
        if one is None:
            return self._new_meter(limit, now)
        # Calls of an older snapshot still run after a reload. What they use is counted by the newer limit.
        if one.limit is not limit and one.limit.generation <= limit.generation:
            one.adopt(limit, now)
        return one

    def _new_meter(self, limit: Limit, now: Now) -> Meter:
        level = self._levels.get(limit.level)
        if level is None:
            level = self._levels[limit.level] = _Level()
        group = self._room(level, limit, now)
        made = self._meters[limit.bucket] = group[limit.bucket] = meter(limit, now, self.unwritten)
        level.groups[limit.within] = group
        level.size += 1
        if isinstance(made, Calendar) and (found := self._kept.pop(limit.bucket, None)) is not None:
            made.resume(found, now, add=False)
        return made

    def _room(self, level: _Level, limit: Limit, now: Now) -> _Group:
        """Return the group for a new limit. Raises Overloaded if there is no room for it."""
        group: _Group = level.groups.get(limit.within, OrderedDict())
        of_a_key = limit.within != ""
        full = of_a_key and len(group) >= self._most_of_a_key
        level.size -= self._forget(group, _LOOKED_AT_WHEN_FULL if full else _LOOKED_AT, now)
        if level.size >= self._most:  # look at the groups in turn
            within, other = level.groups.popitem(last=False)
            level.size -= self._forget(other, _LOOKED_AT_WHEN_FULL, now)
            if other:
                level.groups[within] = other
        if of_a_key and len(group) >= self._most_of_a_key:
            raise Overloaded(
                f"This key already uses {self._most_of_a_key} limits of end users, and there is no room to count a further"
                " end user. Send fewer different values in the field user, or wait until the limits of earlier end users"
                " are unused again.",
                param="user",
            )
        if level.size >= self._most:
            raise Overloaded(f"The gateway already counts {self._most} quotas of the level {limit.level}")
        return group

    def _forget(self, level: _Group, looks: int, now: Now) -> int:
        """Forget the idle ones among the meters that were looked at the longest time ago, and return how many."""
        before = len(level)
        for _ in range(min(looks, len(level))):
            bucket, one = level.popitem(last=False)
            if one.held or one.used(now) or (self._has_store and bucket in self.unwritten):
                level[bucket] = one
            else:
                del self._meters[bucket]
                self.unwritten.pop(bucket, None)
        return before - len(level)


def _take_back(amounts: Sequence[int], meters: Sequence[Meter], now: Now) -> None:
    """Undo what was taken; there may be fewer meters than amounts."""
    for amount, one in zip(amounts, meters, strict=False):
        one.held -= 1
        one.charge(-amount, now)
