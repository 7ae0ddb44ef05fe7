"""What is consumed of the limits of a gateway now, for people to read."""

from __future__ import annotations

import msgspec

from tidegate.config import Config, LimitsConfig, limits_of
from tidegate.ports import Limiter
from tidegate.types import Consumption

MOST_READ = 10_000
"""The limits that are read at once at most. Reading them takes about 15 ms on the event loop."""


class Consumed(msgspec.Struct, frozen=True):
    """The present consumption of limits.

    `configured` says whether the configuration has any limit. `complete` is False if there are more limits than were read.
    `silent` is the number of workers that did not say what they have consumed.
    """

    limits: list[Consumption]
    configured: bool = True
    complete: bool = True
    silent: int = 0


def consumed(limiter: Limiter, config: Config, level: str = "") -> Consumed:
    """Return what is consumed of limits, of one level if one is given. Limits of which nothing is used are left out.

    A limiter forgets such limits at any time, so a list with them would not be the same from one moment to the next.
    """
    read = limiter.consumption(level, most=MOST_READ + 1)
    found = [one for one in read[:MOST_READ] if one.used]
    return Consumed(found, has_limits(config), complete=len(read) <= MOST_READ)


def has_limits(config: Config) -> bool:
    """Return whether a configuration has any limit."""
    return any(limits != LimitsConfig() for _, limits in limits_of(config))


def share_used(one: Consumption) -> float:
    """Return how much of a limit is used: 1 if nothing is left, and more in debt.

    Of a limit for a minute this is the share of its burst, because no more than the burst can be used at once.
    """
    return one.used / max(1, one.used + one.left)
