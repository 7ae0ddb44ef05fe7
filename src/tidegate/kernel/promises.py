"""Remembers when refused clients were told to come back, and how much work they bring. Pure."""

from __future__ import annotations


class Promises:
    """The work that is expected to come back, by the second. At most `longest_s` of it is kept."""

    def __init__(self, longest_s: int = 120) -> None:
        self._longest_s = longest_s
        self._work: dict[int, float] = {}

    def add(self, work: float, at: float) -> None:
        """A client with so much work was told to come back at a time."""
        second = int(at)
        self._work[second] = self._work.get(second, 0.0) + work
        if len(self._work) > self._longest_s:
            self._work.pop(min(self._work))

    def expected(self, now: float) -> float:
        """Return the work that has yet to come back. What should have come before `now` has come, or never will."""
        for second in [one for one in self._work if one < int(now)]:
            del self._work[second]
        return sum(self._work.values())
