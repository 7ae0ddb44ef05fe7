"""Plots of a report: the distribution of latencies, as histograms, or as percentile curves if a result has none."""

from __future__ import annotations

import math

from tidegate.ops.load.report.charts import Chart, Ridge, Series, in_seconds, lines, ridges
from tidegate.ops.load.report.compare import labels, quantiles
from tidegate.ops.load.report.markup import Html
from tidegate.ops.load.report.scales import Scale
from tidegate.ops.load.result import Result, Step

_LATENCIES = ("p50", "p95", "p99")
_SPREADS = (
    ("time_to_first_token", "Time to first token"),
    ("inter_chunk_latency", "Pauses between chunks"),
    ("request_latency", "Request latency"),
)


def spread(result: Result) -> list[Html]:
    """Return histograms of each step, or curves of percentiles if the result has no histograms (AIPerf's export)."""
    found: list[Html] = []
    for metric, title in _SPREADS:
        rows = [
            row
            for step, label in zip(result.steps, labels(result.steps), strict=True)
            if (row := _row(step, label, metric))
        ]
        if rows:
            about = "A row for each step, scaled to its largest bin."
            found.append(ridges(title, about, rows, "ms"))
        elif curve := _curve(result, metric, title):
            found.append(curve)
    return found


def _row(step: Step, label: str, metric: str) -> Ridge | None:
    histogram, figures = step.histograms.get(metric), step.metrics.get(metric)
    if not histogram or not any(histogram.counts) or len(histogram.edges) < 2 or histogram.edges[0] <= 0:
        return None
    known = [(stat, getattr(figures, stat)) for stat in _LATENCIES] if figures else []
    marks = [(stat, at) for stat, at in known if at is not None]
    return Ridge(name=label, edges=histogram.edges, counts=histogram.counts, marks=marks)


def _curve(result: Result, metric: str, title: str) -> Html | None:
    """Return the percentiles as a curve. Its x axis is the number of nines, which stretches the tail."""
    known = [(step, quantiles(found)) for step in result.steps if (found := step.metrics.get(metric))]
    shares = sorted({share for _, points in known for share, _ in points if 0 < share < 1})
    if not shares:
        return None
    scale = Scale(-math.log10(1 - shares[0]), max(-math.log10(1 - shares[-1]), 0.1))
    xs = [scale.at(-math.log10(1 - share)) for share in shares]
    tones = ("p50", "p95", "p99", "good", "due")
    series = [
        Series(
            name=step.name, tone=tones[i % len(tones)], values=[dict(points).get(share) for share in shares]
        )
        for i, (step, points) in enumerate(known)
    ]
    names = [f"p{share * 100:g}" for share in shares]
    chart = Chart(
        title=title,
        about="The values of the percentiles. The axis stretches the tail.",
        unit="ms",
        xs=xs,
        x_names=names,
        x_title="percentile",
        ticks=list(zip(xs, names, strict=True)),
        series=series,
        points=True,
    )
    return lines(in_seconds(chart))
