"""The metrics of all workers as one.

Counters and histograms are added up, those of workers that have died included, so that no sum ever falls. Gauges are
added up over the workers that answer; `engine_ready` is 1 only where it is 1 for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import msgspec
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest

_OF_ALL = frozenset(("tidegate_engine_ready",))

Sample = tuple[str, dict[str, str], float]


class Family(msgspec.Struct):
    """One metric with its samples: name, labels, value."""

    name: str
    meaning: str
    kind: str
    samples: list[Sample]


def families(metrics: Iterable[Metric]) -> list[Family]:
    """Metrics as data that can be sent."""
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
    """The sum of all samples of one name."""
    return sum(value for f in metrics for sample, _, value in f.samples if sample == name)


class Totals:
    """What each worker last said, and what the dead had counted."""

    def __init__(self) -> None:
        self._last: dict[int, list[Family]] = {}
        self._dead: list[Family] = []

    def departed(self, worker: int) -> None:
        """A worker has ended; whoever takes its number counts from zero. What it counted after the last scrape is lost."""
        self._dead = _added([*self._dead, *_counts(self._last.pop(worker, []))])

    def render(self, own: Iterable[Metric], reports: Mapping[int, list[Family]]) -> bytes:
        """The exposition text of all together: the supervisor's `own`, and what the workers reported just now.

        Of a worker that did not report, the counts it last told are in.
        """
        self._last |= reports
        silent = [family for number, last in self._last.items() if number not in reports for family in last]
        heard = [family for report in reports.values() for family in report]
        everything = _added([*families(own), *heard, *_counts(silent), *self._dead])
        return generate_latest(cast("Any", _Collected(everything)))


class _Collected:
    """What prometheus-client renders."""

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
    """One family for each name, samples with the same labels put together."""
    sums: dict[str, tuple[Family, dict[tuple[str, frozenset[tuple[str, str]]], Sample]]] = {}
    for family in parts:
        _, samples = sums.setdefault(family.name, (family, {}))
        for name, labels, value in family.samples:
            key = (name, frozenset(labels.items()))
            if key in samples:
                before = samples[key][2]
                together = min(before, value) if name in _OF_ALL else before + value
                samples[key] = (name, labels, together)
            else:
                samples[key] = (name, labels, value)
    return [Family(f.name, f.meaning, f.kind, list(samples.values())) for f, samples in sums.values()]
