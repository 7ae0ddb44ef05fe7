"""The metrics of the queue and of the engines' seats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from tidegate.dispatch.health import Health
from tidegate.dispatch.place import Place
from tidegate.dispatch.queue import Queue
from tidegate.dispatch.seats import Seats
from tidegate.dispatch.state import STATES, classes_of, rejections_of
from tidegate.kernel.breaker import CLOSED, HALF_OPEN, OPEN
from tidegate.telemetry.metrics import DURATION, Histogram, gauge

RATIO = (0.1, 0.25, 0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0, 10.0)
"""Bounds for the real wait as a part of the predicted one."""


class QueueMetrics:
    """What is counted of the calls that have waited, and what is read of the queue at each scrape."""

    def __init__(self, queue: Queue, engines: Mapping[str, Seats]) -> None:
        """Start to count. `engines` are the seats by the engine's name, as they are at each scrape."""
        self._queue = queue
        self._engines = engines
        self._waits: dict[tuple[str, str], Histogram] = {}
        self._ratios: dict[str, Histogram] = {}
        queue.observe = self.observe

    def observe(self, place: Place) -> None:
        """Count a call that has waited and got its seat."""
        needs = place.needs
        if needs is None:
            return
        key = needs.priority, needs.group
        waits = self._waits.get(key)
        if waits is None:
            waits = self._waits[key] = Histogram(DURATION)
        waits.observe(place.waited_s)
        if place.predicted_s:
            ratios = self._ratios.get(needs.priority)
            if ratios is None:
                ratios = self._ratios[needs.priority] = Histogram(RATIO)
            ratios.observe(place.waited_s / place.predicted_s)

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        yield from self._gauges()
        rejected = CounterMetricFamily(
            "tidegate_queue_rejected",
            "Calls that the queue refused, by class and reason.",
            labels=["class", "reason"],
        )
        for one in rejections_of(self._queue):
            rejected.add_metric([one.priority, one.reason], one.calls)
        yield rejected
        yield _histograms(
            "queue_wait_seconds",
            "Wait of the calls that had to wait and got a seat.",
            ["class", "policy"],
            self._waits,
        )
        yield _histograms(
            "queue_predicted_ratio",
            "The real wait divided by the one that was predicted.",
            ["class"],
            {(name,): ratios for name, ratios in self._ratios.items()},
        )
        yield from self._limits()

    def _gauges(self) -> Iterable[Metric]:
        queue, classes = self._queue, classes_of(self._queue)
        states = (([name], name == queue.state) for name in STATES)
        yield gauge("queue_state", "1 for the state that the queue is in.", ["state"], states)
        yield gauge(
            "queue_utilization",
            "Share of the queue's fullest bound in use.",
            [],
            [((), queue.bounds.utilization)],
        )
        yield gauge("queue_bytes", "Bytes of the bodies of calls that wait.", [], [((), queue.bounds.bytes)])
        yield gauge(
            "queue_size", "Calls that wait.", ["class"], (([one.priority], one.waiting) for one in classes)
        )
        yield gauge(
            "queue_work_tokens",
            "Work that waits: tokens of prompts, and twice the expected tokens of answers.",
            ["class"],
            (([one.priority], one.work) for one in classes),
        )

    def _limits(self) -> Iterable[Metric]:
        limits = (([name], one.limit) for name, one in self._engines.items() if one.limit is not None)
        yield gauge("engine_limit", "Calls that the engine gets at once, at most.", ["engine"], limits)
        changes = CounterMetricFamily(
            "tidegate_engine_limit_changes", "Changes of the limit, by reason.", labels=["engine", "why"]
        )
        for name, seats in self._engines.items():
            for why, times in seats.changes.items():
                changes.add_metric([name, why], times)
        yield changes


def health_metrics(health: Mapping[tuple[str, str], Health], now: float) -> Iterable[Metric]:
    """Yield the metrics of breakers and retries. The keys are the names of an engine and a model on it."""
    yield gauge(
        "engine_breaker",
        "1 for the state of the breaker of a model on an engine.",
        ["engine", "model", "state"],
        (
            ([*names, state], one.breaker.state(now) == state)
            for names, one in health.items()
            for state in (CLOSED, OPEN, HALF_OPEN)
        ),
    )
    yield _counter(
        "engine_breaker_openings", "How often breakers opened.", health, lambda one: one.breaker.opened
    )
    yield _counter("engine_retries", "Calls tried again on the same engine.", health, lambda one: one.retries)
    yield _counter(
        "engine_failovers", "Calls tried elsewhere after a failure here.", health, lambda one: one.failovers
    )
    yield _counter(
        "engine_continuations",
        "Answers that broke off here and were continued.",
        health,
        lambda one: one.continuations,
    )
    yield _counter(
        "engine_hedges",
        "Calls asked elsewhere too because the answer was slow here.",
        health,
        lambda one: one.hedges,
    )


def _counter(
    name: str, meaning: str, health: Mapping[tuple[str, str], Health], count: Callable[[Health], int]
) -> Metric:
    family = CounterMetricFamily(f"tidegate_{name}", meaning, labels=["engine", "model"])
    for names, one in health.items():
        family.add_metric(list(names), count(one))
    return family


def _histograms(
    name: str, meaning: str, labels: list[str], histograms: Mapping[tuple[str, ...], Histogram]
) -> Metric:
    family = HistogramMetricFamily(f"tidegate_{name}", meaning, labels=labels)
    for values, one in histograms.items():
        family.add_metric(list(values), buckets=one.buckets(), sum_value=one.total)
    return family
