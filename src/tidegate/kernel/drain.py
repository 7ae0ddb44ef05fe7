"""How fast an engine gets through its work: measured, to predict how long a new call would wait. Pure.

An engine with so many busy seats completes work at a rate that is proportional to them, as long as its speed for each call
does not depend on their number. So the rate is measured as work per second of a busy seat. The seconds of calls that still
run count too: an engine that completes nothing gets slower with every second.
"""

from __future__ import annotations

MEMORY_S = 20.0
"""What was measured loses its weight with this time constant."""
_NOTHING = 1e-3
_FEW = 32
"""So many completed calls are never forgotten, because fewer say too little."""


class Drain:
    """The work that an engine completes and begins. `now` is in seconds of one clock throughout."""

    __slots__ = (
        "_all",
        "_area",
        "_at",
        "_begun",
        "_calls",
        "_decayed_at",
        "_early",
        "_first_s",
        "_held_s",
        "_held_s2",
        "_known",
        "_spread_s",
        "_time_s",
        "_work",
    )

    def __init__(self, now: float = 0.0) -> None:
        self._at = self._decayed_at = now
        self._area = 0.0  # seconds of busy seats
        self._time_s = 0.0
        self._work = 0.0  # of completed calls whose work is known
        self._known = 0.0
        self._held_s = 0.0  # seconds for which completed calls held their seats
        self._held_s2 = 0.0  # the sum of their squares
        self._calls = 0.0
        self._all = 0
        self._begun: dict[str, float] = {}
        self._early: dict[str, float] = {}
        self._first_s, self._spread_s = -1.0, 0.0

    def begin(self, priority: str, work: float | None, busy: int, now: float, *, early: bool = False) -> None:
        """A call of a class begins. `busy` seats were busy until now.

        `work` may be None for a call that has not waited. `early` is that of the call in line.
        """
        self._area += busy * (now - self._at)
        self._at = now
        if work is not None:
            self._begun[priority] = self._begun.get(priority, 0.0) + work
            if early:
                self._early[priority] = self._early.get(priority, 0.0) + work

    def answered(self, after_s: float) -> None:
        """A streamed call got its first byte so long after the engine was asked."""
        if self._first_s < 0:
            self._first_s, self._spread_s = after_s, after_s / 2
            return
        off = after_s - self._first_s
        self._first_s += off / 8
        self._spread_s += (abs(off) - self._spread_s) / 4

    @property
    def first_byte_s(self) -> float:
        """The time from asking the engine to its first byte that is rarely exceeded; 0 as long as nothing is known.

        It is computed as TCP computes its timeout (Jacobson and Karels, 1988; RFC 6298).
        """
        return self._first_s + 4 * self._spread_s if self._first_s >= 0 else 0.0

    def end(self, work: float | None, held_s: float, busy: int, now: float) -> None:
        """A call has ended after it has held its seat for some time. `busy` seats were busy until now.

        A call whose work is not known counts as one with the mean work of those whose work is known.
        """
        self._area += busy * (now - self._at)
        self._at = now
        self._held_s += held_s
        self._held_s2 += held_s * held_s
        self._calls += 1
        self._all += 1
        if work is not None:
            self._work += work
            self._known += 1
        if now - self._decayed_at > 1:
            self._decay(now)

    def rate(self, seats: int, busy: int, now: float) -> float:
        """Return the work that so many busy seats complete in a second. It is infinite as long as nothing is known."""
        if not self._all or not self._known:
            return float("inf")
        # After a start, short calls have ended and long ones have not. Until each seat had a call that ended, the time of
        # the calls that run still says more about the start than about the engine.
        turned_over = min(1.0, self._all / max(1, busy))
        area = self._area + busy * (now - self._at)
        seat_s = self._held_s + turned_over * max(0.0, area - self._held_s)
        return seats * self._calls * self.mean_work() / max(seat_s, 1e-6)

    def mean_work(self) -> float:
        """Return the mean work of a call; 0 as long as nothing is known."""
        return self._work / self._known if self._known else 0.0

    def dispersion(self, within_s: float) -> float:
        """Return how irregularly calls end within some seconds: the variance of their number divided by its mean.

        It is 1 within a time that is short against a call, since the ends of many calls that began independently are a
        Poisson process. Over many calls it is the squared coefficient of variation of their lengths (Cox, Renewal Theory,
        1962).
        """
        if not self._calls or not self._held_s:
            return 1.0
        mean_s = self._held_s / self._calls
        varies = max(0.0, self._held_s2 / self._calls / (mean_s * mean_s) - 1)
        long = min(1.0, within_s / mean_s)
        return long * varies + (1 - long)

    def rate_of(self, priority: str, now: float) -> float:
        """Return the work of a class that begins in a second, among the calls that had to wait."""
        return self._begun.get(priority, 0.0) / self._measured_s(now)

    def early_rate_of(self, priority: str, now: float) -> float:
        """Return the work of a class that begins in a second before calls of a class that goes first."""
        return self._early.get(priority, 0.0) / self._measured_s(now)

    def early_part_of(self, priority: str) -> float:
        """Return the part of the work of a class, 0 to 1, that begins before calls of a class that goes first."""
        return self._early.get(priority, 0.0) / max(self._begun.get(priority, 0.0), _NOTHING)

    def _measured_s(self, now: float) -> float:
        return max(1.0, self._time_s + now - self._decayed_at)

    def _decay(self, now: float) -> None:
        passed = now - self._decayed_at
        kept = kept_s = max(0.0, 1 - passed / MEMORY_S)
        self._decayed_at = now
        self._time_s = (self._time_s + passed) * kept
        for works in (self._begun, self._early):
            for name in list(works):
                works[name] *= kept
                if works[name] < _NOTHING:
                    del works[name]
        if self._calls > _FEW:
            kept = max(kept, _FEW / self._calls)
            self._area *= kept
            self._held_s *= kept
            self._held_s2 *= kept
            self._calls *= kept
        if self._known > _FEW:
            kept = max(kept_s, _FEW / self._known)
            self._work *= kept
            self._known *= kept
