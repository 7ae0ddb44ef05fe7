"""How long a new call would wait for a seat: the work that goes before it, divided by the rate at which engines work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tidegate.dispatch.seats import Seats

_LEAST_SHARE = 0.01
"""A class without a reserved share is expected to get this part of the work, so that a forecast is never infinite."""


class Forecast(NamedTuple):
    """What a new call has to expect.

    `wait_s` is the time until it gets a seat, and `position` its place in line. `rate` is the work for its class that is
    done in a second; it is infinite as long as nothing is known of the engines.
    """

    wait_s: float
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
    own = higher = rate = undisturbed = share_rate = next_s = 0.0
    calls = 0
    for one in seats:
        ahead, whole = one.line.ahead(priority, tenant, deadline), one.rate(now)
        before = sum(one.drain.rate_of(name, now) for name in ahead.classes)
        own, higher = own + ahead.own, higher + ahead.higher
        calls = max(calls, ahead.calls)  # a call that waits for several engines stands in each of their lines
        rate += whole
        undisturbed += whole * (1 - ahead.behind)
        share_rate += max(whole * max(ahead.share, _LEAST_SHARE), whole * (1 - ahead.behind) - before)
        next_s = max(next_s, one.drain.mean_work())
    if rate == float("inf"):
        return Forecast(0.0, calls + 1, rate)
    wait_s = max((own + higher) / undisturbed, own / share_rate) + next_s / rate
    return Forecast(wait_s, calls + 1, share_rate)
