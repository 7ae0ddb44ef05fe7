"""Prometheus metrics of the request path.

This module records the values, at a cost of about a microsecond per call (a binary search and a few additions).
prometheus-client renders them. Labels come from the configuration, never from clients, so the number of series is bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from tidegate.types import ANSWER, FAILED, HEDGE, Endpoint, Record

UNROUTED = "(none)"
_FOR_ANSWERS = frozenset({ANSWER, FAILED, HEDGE})
"""The purposes of the engine calls that a client waits for."""
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

# Bucket bounds in seconds. The bounds for models follow OpenTelemetry's gen_ai.server.*. The bounds for overhead begin at
# 100 µs, about the gateway's own overhead.
DURATION = (
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.28,
    2.56,
    5.12,
    10.24,
    20.48,
    40.96,
    81.92,
    163.84,
    327.68,
)
TTFT = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    30.0,
    60.0,
)
ITL = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.015,
    0.02,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1.0,
    2.5,
)
OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Histogram:
    """Counts per bucket and a sum. The last bucket counts the values above every bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Add one value, in seconds."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return the cumulative counts by upper bound, in the form that Prometheus expects."""
        rows: list[tuple[str, float]] = []
        seen = 0
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            seen += count
            rows.append((bound, seen))
        return rows


class Series:
    """Everything counted for one endpoint, model and engine."""

    __slots__ = (
        "cached_tokens",
        "completion_tokens",
        "duration",
        "itl",
        "outcomes",
        "overhead",
        "prompt_tokens",
        "ttft",
        "waited",
    )

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.duration = Histogram(DURATION)
        self.overhead = Histogram(OVERHEAD)
        self.waited = Histogram(DURATION)
        self.ttft = Histogram(TTFT)
        self.itl = Histogram(ITL)
        self.prompt_tokens = self.cached_tokens = self.completion_tokens = 0

    def tokens(self) -> dict[str, int]:
        """Return the numbers of tokens by kind."""
        return {
            "prompt": self.prompt_tokens,
            "cached": self.cached_tokens,
            "completion": self.completion_tokens,
        }


class Metrics(Collector):
    """The counts of this process. Satisfies `Sink`. `gauges` are read at every scrape."""

    def __init__(self) -> None:
        self._series: dict[tuple[Endpoint, str, str], Series] = {}
        self._gauges: list[Callable[[], Iterable[Metric]]] = []
        self._reloads = {"ok": 0, "refused": 0}
        self._internal: dict[tuple[str, str], int] = {}
        self._odd: dict[tuple[str, str], int] = {}
        self._structured: dict[tuple[str, str], int] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def finished(self, record: Record) -> None:  # noqa: C901 - each call runs it, and a function would cost more
        """Count one finished call."""
        series = self._series_of(record.endpoint, record.route or UNROUTED, record.engine or UNROUTED)
        engine_s = until = 0.0
        for one in record.spent:
            if one.purpose in _FOR_ANSWERS and not 0 < record.answered_at < one.sent_at:
                # Engine calls that run beside each other count once.
                since, until = max(one.sent_at, until), max(one.first_byte_at or one.ended_at, until)
                engine_s += max(0.0, until - since)
            if one.usage is not None:
                of_engine = series
                if one.engine != record.engine:
                    of_engine = self._series_of(record.endpoint, record.route or UNROUTED, one.engine)
                of_engine.prompt_tokens += one.usage.prompt_tokens
                of_engine.cached_tokens += one.usage.cached_tokens
                of_engine.completion_tokens += one.usage.completion_tokens
        if record.purpose != ANSWER:
            kind = (record.purpose, record.outcome)
            self._internal[kind] = self._internal.get(kind, 0) + 1
            return
        if record.structure:
            which = record.route, record.structure
            self._structured[which] = self._structured.get(which, 0) + 1
        series.outcomes[record.outcome] = series.outcomes.get(record.outcome, 0) + 1
        series.duration.observe(record.ended_at - record.received_at)
        if record.spent:
            series.waited.observe(record.waited_s)
        if record.answered_at and not record.recalled:
            # What a call waits for that has joined another one is not known.
            series.overhead.observe(record.answered_at - record.received_at - engine_s - record.waited_s)
        if record.stream and record.first_content_at:
            series.ttft.observe(record.first_content_at - record.received_at)
            if record.content_events > 1:
                gaps_s = record.last_content_at - record.first_content_at
                series.itl.observe(gaps_s / (record.content_events - 1))

    def _series_of(self, endpoint: Endpoint, route: str, engine: str) -> Series:
        key = (endpoint, route, engine)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series()
        return series

    def reloaded(self, *, ok: bool) -> None:
        """Count one attempt to reload the configuration."""
        self._reloads["ok" if ok else "refused"] += 1

    def odd_answer(self, engine: str, kind: str) -> None:
        """Count one usable answer of an engine that deviated from OpenAI's API. `kind` says in which way."""
        self._odd[engine, kind] = self._odd.get((engine, kind), 0) + 1

    def add_gauges(self, read: Callable[[], Iterable[Metric]]) -> None:
        """Add gauges that are read at every scrape."""
        self._gauges.append(read)

    def render(self) -> bytes:
        """Return the exposition text."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics. prometheus-client calls this method."""
        yield from self._counters()
        yield from self._histograms()
        for read in self._gauges:
            yield from read()

    def _counters(self) -> Iterable[Metric]:
        labels = ["endpoint", "model", "engine"]
        requests = CounterMetricFamily(
            "tidegate_requests", "Calls that have ended, by outcome.", labels=[*labels, "outcome"]
        )
        tokens = CounterMetricFamily(
            "tidegate_tokens", "Tokens as the engines reported them.", labels=[*labels, "kind"]
        )
        for (endpoint, *names), series in self._series.items():
            key = [endpoint.value, *names]
            for outcome, count in series.outcomes.items():
                requests.add_metric([*key, outcome], count)
            for kind, count in series.tokens().items():
                tokens.add_metric([*key, kind], count)
        reloads = CounterMetricFamily(
            "tidegate_config_reloads", "Reloads of the configuration.", labels=["result"]
        )
        for result, count in self._reloads.items():
            reloads.add_metric([result], count)
        internal = CounterMetricFamily(
            "tidegate_internal_calls",
            "Calls of the gateway's own that no client's call waits for, by purpose and outcome.",
            labels=["purpose", "outcome"],
        )
        for kind, count in self._internal.items():
            internal.add_metric(kind, count)
        odd = CounterMetricFamily(
            "tidegate_odd_answers",
            "Answers that were usable, but not as OpenAI's API has them, by what was odd.",
            labels=["engine", "kind"],
        )
        for kind, count in self._odd.items():
            odd.add_metric(kind, count)
        structured = CounterMetricFamily(
            "tidegate_structured_answers",
            "Calls that demanded a form of the answer, by what became of it.",
            labels=["model", "outcome"],
        )
        for kind, count in self._structured.items():
            structured.add_metric(kind, count)
        return requests, tokens, reloads, internal, odd, structured

    def _histograms(self) -> Iterable[Metric]:
        labels = ["endpoint", "model", "engine"]
        for name, meaning in _HISTOGRAMS.items():
            family = HistogramMetricFamily(f"tidegate_{name}_seconds", meaning, labels=labels)
            for (endpoint, *names), series in self._series.items():
                histogram: Histogram = getattr(series, name)
                family.add_metric(
                    [endpoint.value, *names], buckets=histogram.buckets(), sum_value=histogram.total
                )
            yield family


_HISTOGRAMS = {
    "duration": "From the request's arrival to the end of its answer.",
    "overhead": "Up to the first byte of the answer, without the engine's time and the wait for a slot.",
    "waited": "Waiting for an engine slot.",
    "ttft": "Streams: from the request's arrival to the first event with content.",
    "itl": "Streams: mean gap between events with content after the first, one value a stream.",
}


def gauge(
    name: str, meaning: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]
) -> Metric:
    """Return a gauge. Each row has the values of the labels and a number."""
    family = GaugeMetricFamily(f"tidegate_{name}", meaning, labels=list(labels))
    for values, number in rows:
        family.add_metric(list(values), number)
    return family


def counts(name: str, meaning: str, label: str, rows: Mapping[str, int]) -> Metric:
    """Return a counter with one label."""
    family = CounterMetricFamily(f"tidegate_{name}", meaning, labels=[label])
    for value, count in rows.items():
        family.add_metric([value], count)
    return family


def counter(name: str, meaning: str, count: float) -> Metric:
    """Return a counter without labels."""
    return CounterMetricFamily(f"tidegate_{name}", meaning, value=count)
