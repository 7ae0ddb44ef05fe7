"""A circuit breaker: decides from what calls met whether an engine gets more of them. Pure; `now` is monotonic seconds.

It is closed while calls mostly succeed. It opens when too many of the last calls failed or were slow to begin, or when
several have failed in a row. While it is open, the engine gets no calls. After that time it is half open: one call probes
the engine, and no second one as long as that one runs. A probe that succeeds closes the breaker. One that fails opens it
again, for twice as long (Nygard, Release It!, 2007; the growing time is that of Envoy's outlier detection).
"""

from __future__ import annotations

from collections import deque

import msgspec

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"


class BreakerRules(msgspec.Struct, frozen=True):
    """When a breaker opens, and for how long.

    Of the calls of the last `window_s` seconds, `failure_rate` may fail, and `slow_rate` may be slow, once there are
    `min_calls`. `in_a_row` failures open the breaker in any case. It stays open for `open_s`, and twice as long after each
    failed probe, `longest_open_s` at the most.
    """

    window_s: float = 30.0
    min_calls: int = 10
    failure_rate: float = 0.5
    slow_rate: float = 0.8
    in_a_row: int = 5
    open_s: float = 5.0
    longest_open_s: float = 120.0


class _Second(msgspec.Struct):
    """The calls that ended in one second."""

    at: int
    calls: int = 0
    failed: int = 0
    slow: int = 0


class Breaker:
    """The breaker of one engine and model. Each call that `begins` has to end with one of the other methods."""

    __slots__ = ("_in_a_row", "_open_s", "_open_until", "_probing", "_seconds", "opened", "rules")

    def __init__(self, rules: BreakerRules | None = None) -> None:
        self.rules = rules or BreakerRules()
        self.opened = 0
        """How often the breaker has opened."""
        self._seconds: deque[_Second] = deque()
        self._in_a_row = 0
        self._open_until: float | None = None
        self._open_s = 0.0
        self._probing = False

    def state(self, now: float) -> str:
        """Return `closed`, `open` or `half_open`."""
        if self._open_until is None:
            return CLOSED
        return OPEN if now < self._open_until else HALF_OPEN

    def allows(self, now: float) -> bool:
        """Whether a call may begin. In the half-open state, one may."""
        until = self._open_until
        return until is None or (now >= until and not self._probing)

    def begins(self, now: float) -> bool:
        """A call begins, allowed or not. Return whether it is the probe of a half-open breaker."""
        if self._open_until is None or now < self._open_until or self._probing:
            return False
        self._probing = True
        return True

    def succeeded(self, now: float, *, probe: bool = False, slow: bool = False) -> None:
        """A call got its answer. `slow` says that it took too long to begin. `probe` is what `begins` has returned."""
        self._in_a_row = 0
        if probe:
            self._probing = False
            if slow:
                self._open(now)
                return
            self._close()
        if self._open_until is None:
            self._count(now, failed=False, slow=slow)
            if slow:
                self._judge(now)

    def failed(self, now: float, *, probe: bool = False) -> bool:
        """A call failed. Return whether that opened the breaker."""
        self._in_a_row += 1
        if probe:
            self._probing = False
            self._open(now)
            return True
        if self._open_until is not None:
            return False
        self._count(now, failed=True, slow=False)
        return self._judge(now)

    def abandoned(self, *, probe: bool = False) -> None:
        """A call ended without saying anything of the engine: its client left, or the request was wrong."""
        if probe:
            self._probing = False

    def _count(self, now: float, *, failed: bool, slow: bool) -> None:
        at, seconds = int(now), self._seconds
        if not seconds or seconds[-1].at != at:
            seconds.append(_Second(at))
            while seconds[0].at < now - self.rules.window_s:
                seconds.popleft()
        last = seconds[-1]
        last.calls += 1
        last.failed += failed
        last.slow += slow

    def _judge(self, now: float) -> bool:
        rules = self.rules
        recent = [one for one in self._seconds if one.at >= now - rules.window_s]
        calls = sum(one.calls for one in recent)
        bad = calls >= rules.min_calls and (
            sum(one.failed for one in recent) >= rules.failure_rate * calls
            or sum(one.slow for one in recent) >= rules.slow_rate * calls
        )
        if not bad and self._in_a_row < rules.in_a_row:
            return False
        self._open(now)
        return True

    def _open(self, now: float) -> None:
        rules = self.rules
        self._open_s = min(2 * self._open_s or rules.open_s, rules.longest_open_s)
        self._open_until = now + self._open_s
        self._seconds.clear()
        self._in_a_row = 0
        self.opened += 1

    def _close(self) -> None:
        self._open_until = None
        self._open_s = 0.0
        self._seconds.clear()
