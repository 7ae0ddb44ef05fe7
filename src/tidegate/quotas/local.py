"""The Limiter of one process: quotas in its own memory.

All wants of a call are reserved in one step of the event loop, all or none. What is consumed is stored by the name of the
limit's bucket and outlives reloads, so that a changed limit grants nothing extra. What a meter is and how an amount fits is
decided in `meters.py`; which limits a call meets is decided by the caller's policies.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import count, islice

import msgspec

from tidegate.errors import GatewayError, Overloaded
from tidegate.ports import Clock, Wall
from tidegate.quotas.meters import Meter, Now, meter
from tidegate.quotas.refusals import never_fits, refusal
from tidegate.types import Consumption, Limit, Ticket, Want

MOST_METERS = 100_000
"""The meters that are kept for one level. Each takes about half a kilobyte."""
_LOOKED_AT = 2
_LOOKED_AT_WHEN_FULL = 64


class _Reservation(msgspec.Struct, frozen=True):
    """An open reservation: the second in which it expires, and the meter and its period for each want."""

    expires: int
    meters: list[Meter]
    since: list[int]


class LocalLimiter:
    """Reserves quota in this process. Satisfies the port `Limiter`.

    At most `most_meters` limits of one level are kept. A limit of which nothing is consumed is forgotten when there is
    a new one. While none can be forgotten, calls that meet a new limit are refused with Overloaded.
    """

    def __init__(self, clock: Clock, wall: Wall, *, most_meters: int = MOST_METERS) -> None:
        self._clock = clock
        self._wall = wall
        self._most = most_meters
        self._meters: dict[str, Meter] = {}
        self._levels: dict[str, OrderedDict[str, Meter]] = {}
        self._open: dict[str, tuple[Ticket, _Reservation]] = {}
        self._expiring: dict[int, set[str]] = {}
        self._second = 0
        self._serial = count(1)

    async def reserve(self, call_id: str, wants: Sequence[Want], *, until: float) -> Ticket:
        now = self._now()
        if now.us // 1_000_000 != self._second:
            self._expire(now)
        meters: list[Meter] = []
        try:
            for want in wants:
                limit = want.limit
                one = self._meters.get(limit.bucket) or self._new_meter(limit, now)
                if one.limit is not limit:
                    one.adopt(limit, now)
                one.held += 1  # from here on, since making the next meter may forget idle ones
                meters.append(one)
            over = self._take(wants, meters, now)
        except GatewayError:
            for one in meters:
                one.held -= 1
            raise
        left: list[int] = []
        resets_s: list[float] = []
        since: list[int] = []
        for one in meters:
            remaining, reset_s = one.standing(now)
            left.append(remaining)
            resets_s.append(reset_s)
            since.append(one.since)
        ticket = Ticket(f"{call_id}/{next(self._serial)}", tuple(wants), tuple(left), tuple(resets_s), over)
        reservation = _Reservation(int(until) + 1, meters, since)
        self._open[ticket.id] = (ticket, reservation)
        self._expiring.setdefault(reservation.expires, set()).add(ticket.id)
        return ticket

    def settle(self, ticket: Ticket, used: Sequence[int]) -> None:
        unknown = len(ticket.wants) - len(used)
        self._end(ticket, [*used, *[None] * unknown] if unknown > 0 else used)

    def abandon(self, ticket: Ticket) -> None:
        self._end(ticket, [None] * len(ticket.wants))

    def consumption(self, level: str = "", *, most: int = 1000) -> Sequence[Consumption]:
        now = self._now()
        self._expire(now)
        kept = self._levels.get(level, OrderedDict()) if level else self._meters
        return [
            Consumption(one.limit, one.used(now), *one.standing(now), one.since)
            for one in islice(kept.values(), most)
        ]

    def restore(self, limit: Limit, used: int) -> None:
        """Charge what a store remembers of the present day or month, after a start."""
        now = self._now()
        (self._meters.get(limit.bucket) or self._new_meter(limit, now)).charge(used, now)

    def _now(self) -> Now:
        return Now(round(self._clock() * 1e6), self._wall())

    def _take(self, wants: Sequence[Want], meters: Sequence[Meter], now: Now) -> tuple[Want, ...]:
        """Take all wants or none, and return those that exceed a limit which is not enforced."""
        over: list[Want] = []
        for at, (want, one) in enumerate(zip(wants, meters, strict=True)):
            limit, amount = want.limit, want.amount
            if amount <= limit.most and one.take(amount, now):
                continue
            if limit.enforce:
                for taken, back in zip(wants[:at], meters[:at], strict=True):
                    back.charge(-taken.amount, now)
                raise never_fits(wants) or refusal(want, wants, meters, now)
            one.charge(amount, now)
            over.append(want)
        return tuple(over)

    def _end(self, ticket: Ticket, used: Sequence[int | None]) -> None:
        _, reservation = self._open.pop(ticket.id, (None, None))
        if reservation is None:
            return
        expiring = self._expiring.get(reservation.expires)
        if expiring is not None:
            expiring.discard(ticket.id)
        now = self._now()
        for want, one, since, figure in zip(
            ticket.wants, reservation.meters, reservation.since, used, strict=False
        ):
            one.held -= 1
            one.settle(want.amount, figure, now, since)

    def _expire(self, now: Now) -> None:
        """Abandon the reservations that have not ended in their time."""
        self._second = second = now.us // 1_000_000
        for expired in [at for at in self._expiring if at <= second]:
            for name in self._expiring.pop(expired):
                self.abandon(self._open[name][0])

    def _new_meter(self, limit: Limit, now: Now) -> Meter:
        level = self._levels.setdefault(limit.level, OrderedDict())
        self._forget(level, _LOOKED_AT_WHEN_FULL if len(level) >= self._most else _LOOKED_AT, now)
        if len(level) >= self._most:
            raise Overloaded(f"The gateway already counts {self._most} quotas of the level {limit.level}")
        made = self._meters[limit.bucket] = level[limit.bucket] = meter(limit, now)
        return made

    def _forget(self, level: OrderedDict[str, Meter], looks: int, now: Now) -> None:
        """Forget the idle ones among the meters that were looked at the longest time ago."""
        for _ in range(min(looks, len(level))):
            bucket, one = level.popitem(last=False)
            if one.held or one.used(now):
                level[bucket] = one
            else:
                del self._meters[bucket]
