"""Plots of a report: percentiles, throughput and errors against the level of load, with lines for the criteria's limits."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tidegate.ops.load.report.charts import Chart, Series, Values, in_seconds, lines
from tidegate.ops.load.report.compare import labels, pairs, value
from tidegate.ops.load.report.markup import Html
from tidegate.ops.load.report.numbers import number
from tidegate.ops.load.report.scales import load_scale
from tidegate.ops.load.result import Result, Step

_LATENCIES = ("p50", "p95", "p99")


class _Latency(msgspec.Struct, frozen=True):
    """A latency that has a plot. `criterion` is the beginning of the names of its checks."""

    metric: str
    title: str
    about: str
    criterion: str


_OF_TIME = (
    _Latency(
        "time_to_first_token", "Time to first token", "From sending a request to its first content.", "TTFT"
    ),
    _Latency(
        "inter_token_latency", "Inter-token latency", "The mean pause between tokens, of each request.", "ITL"
    ),
    _Latency(
        "inter_chunk_latency",
        "Pauses between chunks",
        "Every single pause. They show stalls that a mean hides.",
        "gap",
    ),
    _Latency("request_latency", "Request latency", "From sending a request to its last content.", "latency"),
)


class Loads(msgspec.Struct, frozen=True, kw_only=True):
    """The x axis: the position and the name of each step."""

    xs: list[float]
    names: list[str]
    ticks: list[tuple[float, str]]
    title: str


def over_load(result: Result, baseline: Result | None) -> list[Html]:
    """Return a plot of each main figure against the level of load, or none for fewer than two steps."""
    if len(result.steps) < 2:
        return []
    steps, loads = _in_order(result.steps)
    before = _before(steps, result, baseline)
    latencies = [_latency(steps, loads, before, latency) for latency in _OF_TIME]
    found = [*latencies, _requests(steps, loads, before), _tokens(steps, loads, before)]
    return [chart for chart in found if chart is not None]


def _in_order(steps: list[Step]) -> tuple[list[Step], Loads]:
    """Place the steps by load on a scale if they have one kind of load and no level twice, or else in order of running."""
    kinds = (
        ("users", [s.users for s in steps]),
        ("requests a second offered", [s.rate_per_s for s in steps]),
    )
    for kind, loads in kinds:
        amounts = {float(load): step for load, step in zip(loads, steps, strict=True) if load is not None}
        if len(amounts) == len(steps):
            scale = load_scale(list(amounts))
            ordered = [amounts[load] for load in sorted(amounts)]
            ticks = [(scale.at(load), number(load)) for load in sorted(amounts)]
            title = f"{kind}, log scale" if scale.log else kind
            return ordered, Loads(xs=[x for x, _ in ticks], names=labels(ordered), ticks=ticks, title=title)
    xs = [(i + 0.5) / len(steps) for i in range(len(steps))]
    names = labels(steps)
    return steps, Loads(
        xs=xs, names=names, ticks=list(zip(xs, names, strict=True)), title="steps, in their order"
    )


def _before(steps: list[Step], result: Result, baseline: Result | None) -> list[Step | None]:
    """Return the baseline's step for each step of the result."""
    known = {id(new): old for old, new in pairs(baseline, result)} if baseline else {}
    return [known.get(id(step)) for step in steps]


def _values(steps: Iterable[Step | None], metric: str, stat: str) -> Values:
    return [value(step, metric, stat) if step else None for step in steps]


def _latency(steps: list[Step], loads: Loads, before: list[Step | None], latency: _Latency) -> Html | None:
    metric, about = latency.metric, latency.about
    series = [Series(name=stat, tone=stat, values=_values(steps, metric, stat)) for stat in _LATENCIES]
    if all(value is None for one in series for value in one.values):
        return None
    late = _values(steps, f"{metric}_from_schedule", "p95")
    if _differs(late, series[1].values):
        series.append(Series(name="p95 due", tone="due", values=late, dashed=True))
        about = f"{about} Dashed: p95 from when requests were due."
    series += _old("p95 old", _values(before, metric, "p95"))
    return _chart(loads, latency.title, about, "ms", series, _limits(steps, latency.criterion))


def _requests(steps: list[Step], loads: Loads, before: list[Step | None]) -> Html | None:
    done = _values(steps, "request_throughput", "avg")
    if all(value is None for value in done):
        return None
    offered: Values = [step.rate_per_s for step in steps]
    series = [
        Series(name="offered", tone="quiet", values=offered, dashed=True),
        Series(name="whole", tone="p50", values=done),
        Series(name="good", tone="good", values=_values(steps, "goodput", "avg")),
        *_old("old", _values(before, "request_throughput", "avg")),
    ]
    return _chart(
        loads,
        "Requests per second",
        "Complete answers. Good answers are within every limit of the SLO.",
        "req/s",
        series,
        [],
    )


def _tokens(steps: list[Step], loads: Loads, before: list[Step | None]) -> Html | None:
    tokens = _values(steps, "output_token_throughput", "avg")
    if all(value is None for value in tokens):
        return None
    old = _old("old", _values(before, "output_token_throughput", "avg"))
    series = [Series(name="new" if old else "all", tone="p50", values=tokens), *old]
    return _chart(loads, "Output tokens per second", "Of all requests together.", "tok/s", series, [])


def errors(result: Result) -> Html | None:
    """Return a plot of errors against the level of load. None for fewer than two steps, or if there were no errors."""
    if len(result.steps) < 2:
        return None
    steps, loads = _in_order(result.steps)
    errors = _values(steps, "error_fraction", "avg")
    if not any(errors):
        return None
    series = [Series(name="errors", tone="bad", values=errors)]
    return _chart(
        loads,
        "Errors",
        "Share of the requests without a complete answer.",
        "%",
        series,
        _limits(steps, "errors"),
    )


def _old(name: str, values: Values) -> list[Series]:
    known = any(value is not None for value in values)
    return [Series(name=name, tone="quiet", values=values, dashed=True)] if known else []


def _differs(late: Values, prompt: Values) -> bool:
    both = [(a, b) for a, b in zip(late, prompt, strict=True) if a is not None and b]
    return any(abs(a - b) / b > 0.02 for a, b in both)


def _limits(steps: list[Step], prefix: str) -> list[tuple[str, float]]:
    """Return the limits of the criteria with that name, without repeats."""
    checks = (check for step in steps for check in step.checks if check.name.startswith(prefix))
    found = {check.wanted: check.limit for check in checks}
    return [(f"wanted {wanted}", at) for wanted, at in found.items() if at is not None]


def _chart(
    loads: Loads, title: str, about: str, unit: str, series: list[Series], limits: list[tuple[str, float]]
) -> Html:
    chart = Chart(
        title=title,
        about=about,
        unit=unit,
        xs=loads.xs,
        x_names=loads.names,
        x_title=loads.title,
        ticks=loads.ticks,
        series=series,
        limits=limits,
        points=True,
    )
    return lines(in_seconds(chart))
