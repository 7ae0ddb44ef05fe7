"""Metrics of rails: what they decided, how long they took, and how much later the answers came for it."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from tidegate.telemetry.metrics import Histogram
from tidegate.types import Action, Record, Surface

TOOK = (
    1e-5,
    2.5e-5,
    5e-5,
    1e-4,
    2.5e-4,
    5e-4,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    5.0,
)
"""The upper bounds of the buckets, in seconds: from rules, which take microseconds, to judges."""


class RailMetrics:
    """The counts of this process. Satisfies `Sink`. The names of rails come from the configuration, so they are bounded."""

    def __init__(self) -> None:
        self._verdicts: dict[tuple[str, Surface, Action], int] = {}
        self._errors: dict[str, int] = {}
        self._shown: dict[str, int] = {}
        self._abandoned: dict[str, int] = {}
        self._took: dict[str, Histogram] = {}
        self._added = {"ttft": Histogram(TOOK), "itl": Histogram(TOOK)}

    def finished(self, record: Record) -> None:
        """Count the findings of one call."""
        for one in record.findings:
            key = one.rail, one.surface, one.action
            self._verdicts[key] = self._verdicts.get(key, 0) + 1
            if one.error:
                self._errors[one.rail] = self._errors.get(one.rail, 0) + 1
            if one.shown_chars:
                self._shown[one.rail] = self._shown.get(one.rail, 0) + one.shown_chars
            took = self._took.get(one.rail)
            if took is None:
                took = self._took[one.rail] = Histogram(TOOK)
            took.observe(one.took_s)
        if record.findings:
            self._added["ttft"].observe(record.added_ttft_s)
            if record.content_events > 1:
                self._added["itl"].observe(record.held_s / record.content_events)

    def went_on(self, rail: str) -> None:
        """Count a check of the rail with this name that ignores its cancellation."""
        self._abandoned[rail] = self._abandoned.get(rail, 0) + 1

    def collect(self) -> Iterable[Metric]:
        """Return the metrics, for `Metrics.add_gauges`."""
        verdicts = CounterMetricFamily(
            "tidegate_rail_verdicts",
            "Most severe action of each rail on each surface of a call.",
            labels=["rail", "surface", "action"],
        )
        for (rail, surface, action), count in self._verdicts.items():
            verdicts.add_metric([rail, surface.value, action.word], count)
        took = HistogramMetricFamily(
            "tidegate_rail_seconds", "Time of a rail on one surface of a call.", labels=["rail"]
        )
        for rail, histogram in self._took.items():
            took.add_metric([rail], buckets=histogram.buckets(), sum_value=histogram.total)
        added = HistogramMetricFamily(
            "tidegate_rails_added_seconds",
            "How much later the first event with content (ttft) and each event (itl) came for the rails.",
            labels=["to"],
        )
        for what, histogram in self._added.items():
            added.add_metric([what], buckets=histogram.buckets(), sum_value=histogram.total)
        return verdicts, *self._counts(), took, added

    def _counts(self) -> Iterable[Metric]:
        """The counts by rail alone."""
        for name, words, counts in (
            ("errors", "Calls in which a rail failed, so that `on_error` decided.", self._errors),
            ("abandoned", "Checks that still ran a second after they were cancelled.", self._abandoned),
            (
                "shown_characters",
                "Characters of blocked passages that were shown before their verdict.",
                self._shown,
            ),
        ):
            found = CounterMetricFamily(f"tidegate_rail_{name}", words, labels=["rail"])
            for rail, count in counts.items():
                found.add_metric([rail], count)
            yield found
