"""Counts and logs the requests that are refused before they become calls.

Unlike a call, such a request leaves no record, so it is counted here. Any client can send many such requests, and a log
line for each would cost more than the refusal itself. So at most one line is logged each second.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, Metric

from tidegate.errors import GatewayError

LINE_EVERY_S = 1.0

log = logging.getLogger(__name__)


class Refusals:
    """The refusals of one server, by the code of their error."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_code: Counter[str] = Counter()
        self._said_at = float("-inf")
        self._unsaid = 0

    def add(self, error: GatewayError, client: tuple[str, int] | None) -> None:
        """Count a refused request of `client`, and log it unless a line was logged within the last second."""
        self._by_code[error.code] += 1
        now = self._clock()
        if now < self._said_at + LINE_EVERY_S:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} more since the last line)" if self._unsaid else ""
        log.log(
            max(error.level, logging.INFO),
            "refused a request from %s: %s: %s%s",
            client[0] if client else "an unknown address",
            error.code,
            error.message,
            more,
        )
        self._said_at, self._unsaid = now, 0

    def metrics(self) -> Iterable[Metric]:
        """Return the counter in the form that `Metrics.add_gauges` takes."""
        refused = CounterMetricFamily(
            "tidegate_edge_refusals", "Requests refused before they became calls, by code.", labels=["code"]
        )
        for code, count in self._by_code.items():
            refused.add_metric([code], count)
        return [refused]
