"""What is counted of cases: how many are open, how long calls waited, and what was decided."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from prometheus_client.core import HistogramMetricFamily, Metric

from tidegate.ports import Clock
from tidegate.telemetry.metrics import Histogram, counter, counts, gauge

WAITED = (0.1, 1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""The upper bounds of the buckets, in seconds."""


class Counts:
    """The counts of one process. `open_cases` are those of the file, which all processes share.

    `made` counts the cases, and `full` the calls for which no case was made because too many were open. `told` has the
    messages of the webhook by their outcome.
    """

    def __init__(self, clock: Clock) -> None:
        self.open_cases = 0
        self.waiting = 0
        self.made = 0
        self.full = 0
        self.told = {"sent": 0, "failed": 0, "dropped": 0}
        self._clock = clock
        self._decisions: dict[str, int] = {}
        self._waited = Histogram(WAITED)

    @contextmanager
    def waits(self) -> Generator[None]:
        """Count a call that waits, and how long it does."""
        began = self._clock()
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1
            self._waited.observe(self._clock() - began)

    def decided(self, action: str) -> None:
        """Count a decision."""
        self._decisions[action] = self._decisions.get(action, 0) + 1

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        yield gauge("review_open_cases", "Cases without a decision.", [], [((), self.open_cases)])
        yield gauge("review_waiting", "Calls that wait for a decision.", [], [((), self.waiting)])
        yield counter("review_cases", "Cases made.", self.made)
        yield counter("review_full", "Calls without a case, because too many were open.", self.full)
        words = "Decisions about cases, those at the deadline included."
        yield counts("review_decisions", words, "action", self._decisions)
        yield counts("review_webhooks", "Messages about new cases by their outcome.", "outcome", self.told)
        waited = HistogramMetricFamily(
            "tidegate_review_wait_seconds", "How long calls waited for a decision."
        )
        waited.add_metric([], buckets=self._waited.buckets(), sum_value=self._waited.total)
        yield waited
