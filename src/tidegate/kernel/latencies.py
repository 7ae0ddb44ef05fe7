"""The latest times that something took, and how long it rarely takes longer than. Pure; times are in seconds.

A time that was cut short is known only to be longer than what has passed. Such a time counts if it is beyond the
percentile already: wherever it would have ended, the share of the times beyond the percentile stays right. If it did not
count, the percentile of an engine whose slow calls are cut would fall and fall.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from math import ceil, inf

MOST = 100
"""So many times are kept."""
FEWEST = 20
"""With fewer times there is no percentile: a twentieth of them would be less than one."""
SHARE = 0.95


class Latencies:
    """The last hundred times, as they came and sorted."""

    __slots__ = ("_latest", "_sorted")

    def __init__(self) -> None:
        self._latest = deque[float]()
        self._sorted: list[float] = []

    @property
    def p95(self) -> float:
        """The shortest time that at least 95 % of the times do not exceed; infinity as long as there are too few."""
        seen = len(self._sorted)
        return self._sorted[ceil(SHARE * seen) - 1] if seen >= FEWEST else inf

    def add(self, seconds: float) -> None:
        """Count a time."""
        if len(self._latest) == MOST:
            del self._sorted[bisect_left(self._sorted, self._latest.popleft())]
        self._latest.append(seconds)
        insort(self._sorted, seconds)

    def cut(self, seconds: float) -> None:
        """Count a time that was cut short after so many seconds, if it is known to be beyond the percentile."""
        if seconds >= self.p95:
            self.add(seconds)
