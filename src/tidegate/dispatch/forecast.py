"""How long a new call would wait for a seat: the work that goes before it, divided by the rate at which engines work."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from typing import NamedTuple

import msgspec

from tidegate.dispatch.seats import Seats

SURE = 3.5
"""The standard deviations within which nearly all waits are, if they are distributed normally."""
_LEAST_SHARE = 0.01
"""A class without a reserved share is expected to get this part of the work, so that a forecast is never infinite."""


class Forecast(NamedTuple):
    """What a new call has to expect.

    `wait_s` is the time until it gets a seat, and `position` its place in line. The wait is nearly always under `surely_s`:
    the more calls have to end before it, the less their lengths matter. `rate` is the work for its class that is done in a
    second; it is infinite as long as nothing is known of the engines.
    """

    wait_s: float
    surely_s: float
    position: int
    rate: float


class Outlook(msgspec.Struct, frozen=True, rename={"priority": "class"}):
    """What a call of a class would have to expect, for people to read.

    `position` is 0 if a seat is free. `wait_s` is None as long as nothing is known of the engines. `refused` is the reason
    of the refusal, empty if the call may wait; a refused client would be told to come back after `retry_after_s` or a
    little more.
    """

    priority: str
    position: int = 0
    wait_s: float | None = 0.0
    refused: str = ""
    retry_after_s: float = 0.0


def forecast(seats: Sequence[Seats], priority: str, tenant: str, deadline: float, now: float) -> Forecast:
    """Predict the wait of a new call that any of these engines can serve.

    A call that can go to several engines is part of the work of each, in equal portions, so their work and their rates add
    up. For the classes that go before, the higher one of two estimates holds: that they only get done what waits now, or
    that their calls keep coming as they did lately. A class gets its reserved share in any case.
    """
    own = higher = rate = undisturbed = share_rate = reserved = debt = early = next_s = 0.0
    aged_s = inf
    own_calls = higher_calls = 0
    for one in seats:
        ahead, whole, drain = one.line.ahead(priority, tenant, deadline), one.rate(now), one.drain
        before = sum(drain.rate_of(name, now) for name in ahead.before)
        behind = sum(max(rule.share * whole, drain.early_rate_of(rule.name, now)) for rule in ahead.behind)
        least = whole * max(ahead.share, _LEAST_SHARE)
        own, higher, rate = own + ahead.own, higher + ahead.higher, rate + whole
        undisturbed += max(least, whole - behind)
        share_rate += max(least, whole - before - behind)
        reserved, debt = reserved + least, debt + ahead.debt
        next_s = max(next_s, drain.mean_work())
        aged_s = min(aged_s, ahead.aged_s)
        early = max(early, drain.early_part_of(priority))
        # A call that waits for several engines stands in each of their lines.
        own_calls, higher_calls = max(own_calls, ahead.own_calls), max(higher_calls, ahead.higher_calls)
    position = own_calls + higher_calls + 1
    if rate == inf:
        return Forecast(0.0, 0.0, position, rate)
    wait_s = max((own + higher) / undisturbed, own / share_rate)
    # While the classes before it always wait, a class gets its share, and more only once its calls have aged.
    wait_s += early * max(0.0, min((own + debt) / reserved, max(aged_s, wait_s)) - wait_s)
    wait_s += next_s / rate
    # So many calls end meanwhile. A class that gets what others leave depends on chance more than one that gets its share:
    # between all these ends and its own part of them, the geometric mean.
    ends = wait_s * rate / next_s * (early + (1 - early) * sqrt(min(1.0, share_rate / rate)))
    dispersion = max(one.drain.dispersion(wait_s) for one in seats)
    return Forecast(wait_s, wait_s * (1 + SURE * sqrt(dispersion / ends)), position, share_rate)
