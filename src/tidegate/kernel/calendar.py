"""Counters by calendar day and month in a time zone.

A day begins at the first moment that has its date in the zone. Days are therefore 23 or 25 hours long when the clocks
change, and a day without a midnight begins when the clocks have been put forward. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta, tzinfo


def day_of(now_s: float, zone: tzinfo) -> tuple[int, int]:
    """Return the start of the present day and the start of the next."""
    return _period(datetime.fromtimestamp(now_s, zone).date(), _next_day, now_s, zone)


def month_of(now_s: float, zone: tzinfo) -> tuple[int, int]:
    """Return the start of the present month and the start of the next."""
    return _period(datetime.fromtimestamp(now_s, zone).date().replace(day=1), _next_month, now_s, zone)


Period = Callable[[float, tzinfo], tuple[int, int]]
"""`day_of` or `month_of`."""


class Counter:
    """What was counted in the present period. A clock that goes back does not begin a period again."""

    __slots__ = ("end_s", "period", "start_s", "used", "zone")

    def __init__(self, period: Period, zone: tzinfo, now_s: float) -> None:
        self.period = period
        self.zone = zone
        self.used = 0
        self.start_s, self.end_s = period(now_s, zone)

    def turn(self, now_s: float) -> None:
        """Begin the present period, if the one before has ended."""
        if now_s >= self.end_s:
            self.start_s, self.end_s = self.period(now_s, self.zone)
            self.used = 0

    def change_zone(self, zone: tzinfo, now_s: float) -> None:
        """Count in another zone from now on.

        The running period is prolonged up to an end of a period in the new zone, since two ends within one period would
        grant twice the limit.
        """
        self.turn(now_s)
        self.zone = zone
        self.end_s = self.period(self.end_s - 1, zone)[1]

    def resume(self, start_s: int, end_s: int, now_s: float) -> bool:
        """Count on in a period that was begun before, perhaps in another zone. Return whether that period still runs.

        As with a change of the zone, the period runs up to an end of a period in this counter's zone.
        """
        if start_s > self.end_s:
            return False  # it was written while the clock was far ahead
        end_s = self.period(end_s - 1, self.zone)[1]
        if now_s >= end_s:
            return False
        self.start_s, self.end_s = start_s, end_s
        return True


def _period(start: date, following: Callable[[date], date], now_s: float, zone: tzinfo) -> tuple[int, int]:
    end = following(start)
    # Clocks that are put back over midnight show a date again that has ended.
    while (end_s := _begin(end, zone)) <= now_s:
        start, end = end, following(end)
    return _begin(start, zone), end_s


def _begin(day: date, zone: tzinfo) -> int:
    """Return the first second that has this date in the zone, or a later date where the zone has skipped the date."""
    midnight = datetime.combine(day, time.min, zone)
    late, early = int(midnight.timestamp()), int(midnight.replace(fold=1).timestamp())
    if early >= late:  # midnight exists, once or twice
        return late
    while (
        late - early > 1
    ):  # the clocks were put forward over midnight: search for the second in which they were
        middle = (early + late) // 2
        if datetime.fromtimestamp(middle, zone).date() < day:
            early = middle
        else:
            late = middle
    return late


def _next_day(day: date) -> date:
    return day + timedelta(days=1)


def _next_month(day: date) -> date:
    return (day + timedelta(days=31)).replace(day=1)
