"""The metrics of all workers, added up.

The sums of counters and histograms include workers that have died, so that no sum ever falls. Gauges are added up over the
workers that answer. `engine_ready` is 1 only if it is 1 for all of them, and `queue_utilization` is that of the fullest
queue, and `review_open_cases` are those of the file that all workers share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import add
from types import MappingProxyType
from typing import Any, cast

import msgspec
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest

_TOGETHER = MappingProxyType(
    {"tidegate_engine_ready": min, "tidegate_queue_utilization": max, "tidegate_review_open_cases": max}
)
"""What is not added up."""

Sample = tuple[str, dict[str, str], float]


class Family(msgspec.Struct):
    """One metric with its samples: name, labels, value."""

    name: str
    meaning: str
    kind: str
    samples: list[Sample]


def families(metrics: Iterable[Metric]) -> list[Family]:
    """Return metrics as plain data that can be sent."""
    return [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            [(s.name, s.labels, float(s.value)) for s in metric.samples],
        )
        for metric in metrics
    ]


def total(metrics: Iterable[Family], name: str) -> float:
    """Return the sum of all samples of one name."""
    return sum(value for f in metrics for sample, _, value in f.samples if sample == name)


class Totals:
    """The last report of each worker, and the counts of workers that have ended."""

    def __init__(self) -> None:
        self._last: dict[int, list[Family]] = {}
        self._dead: list[Family] = []

    def departed(self, worker: int) -> None:
        """Keep the counts of a worker that has ended, since its successor counts from zero.

        What the worker counted after the last scrape is lost.
        """
        self._dead = _added([*self._dead, *_counts(self._last.pop(worker, []))])

    def render(self, own: Iterable[Metric], reports: Mapping[int, list[Family]]) -> bytes:
        """Return the exposition text of the supervisor's `own` metrics and the workers' reports.

        For a worker without a report, the counts of its last report are included.
        """
        self._last |= reports
        silent = [family for number, last in self._last.items() if number not in reports for family in last]
        heard = [family for report in reports.values() for family in report]
        everything = _added([*families(own), *heard, *_counts(silent), *self._dead])
        return generate_latest(cast("Any", _Collected(everything)))


class _Collected:
    """The families as a collector that prometheus-client can render."""

    def __init__(self, everything: Iterable[Family]) -> None:
        self._everything = everything

    def collect(self) -> Iterator[Metric]:
        for family in self._everything:
            metric = Metric(family.name, family.meaning, family.kind)
            for name, labels, value in family.samples:
                metric.add_sample(name, labels, value)
            yield metric


def _counts(parts: Iterable[Family]) -> list[Family]:
    return [family for family in parts if family.kind != "gauge"]


def _added(parts: Iterable[Family]) -> list[Family]:
    """Merge families by name, and add up samples with the same labels."""
    sums: dict[str, tuple[Family, dict[tuple[str, frozenset[tuple[str, str]]], Sample]]] = {}
    for family in parts:
        _, samples = sums.setdefault(family.name, (family, {}))
        for name, labels, value in family.samples:
            key = (name, frozenset(labels.items()))
            if key in samples:
                before = samples[key][2]
                samples[key] = (name, labels, _TOGETHER.get(name, add)(before, value))
            else:
                samples[key] = (name, labels, value)
    return [Family(f.name, f.meaning, f.kind, list(samples.values())) for f, samples in sums.values()]
