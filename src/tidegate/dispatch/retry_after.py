"""When a refused client should come back, so that it is likely to be served then."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.dispatch.forecast import Forecast
from tidegate.kernel.promises import Promises

FRESH = 0.6
"""The share of the capacity that new calls are expected to take from those who come back after a refusal."""
LEAST_RETRY_S, MOST_RETRY_S = 1.0, 60.0
JITTER = 0.3
"""`Retry-After` is longer than computed by up to this share, so that refused clients do not come back all at once."""


class RetryAfter:
    """Remembers who was told to come back: these clients come as well, and new calls take a part of what is left."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        """`jitter` returns a number from 0 to 1."""
        self._jitter = jitter
        self._promises: dict[str, Promises] = {}

    def least_s(self, priority: str, expected: Forecast, now: float) -> float:
        """Return the least number of seconds after which a client of a class is likely to be served."""
        wait_s = expected.wait_s
        promises = self._promises.get(priority)
        if promises is not None and 0 < expected.rate < float("inf"):
            wait_s += promises.expected(now) / expected.rate
        return max(LEAST_RETRY_S, min(MOST_RETRY_S / (1 + JITTER), wait_s / (1 - FRESH)))

    def promise(self, priority: str, work: float, expected: Forecast, now: float) -> float:
        """Return after how many seconds a client should come back, and remember that it was told so."""
        wait_s = self.least_s(priority, expected, now) * (1 + JITTER * self._jitter())
        self._promises.setdefault(priority, Promises()).add(work, now + wait_s)
        return wait_s
