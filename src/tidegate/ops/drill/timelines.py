"""The timelines of a drill: plots of the whole run, second by second, with its phases above them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from tidegate.ops.drill.figures import EngineNow, Second
from tidegate.ops.drill.plan import ENGINES, KINDS, TENANTS
from tidegate.ops.drill.result import Result
from tidegate.ops.load.report.charts import Band, Chart, Series, Values, in_seconds, lines
from tidegate.ops.load.report.markup import Html
from tidegate.ops.load.report.numbers import duration
from tidegate.ops.load.report.times import clock, clock_ticks

_TONES = ("p50", "p95", "p99", "good", "due", "quiet")
_MEAN_S = 5
_BREAKERS = {"closed": 0.0, "half_open": 0.5, "half-open": 0.5, "open": 1.0}


class _Plot(msgspec.Struct, frozen=True):
    title: str
    about: str
    unit: str
    series: list[Series]


def over_time(result: Result) -> list[Html]:
    """Return the plots. What the gateway does not tell has none."""
    plots = (*_of_calls(result.timeline), *_of_engines(result.timeline))
    known = [plot for plot in plots if any(value is not None for one in plot.series for value in one.values)]
    return [_timeline(result, plot) for plot in known]


def _of_calls(seconds: list[Second]) -> Iterator[_Plot]:
    about = "By the second in which they came. A good one is whole and in time."
    yield _Plot("Calls", about, "calls/s", _calls(seconds))
    limits = ", ".join(f"{kind.name} {kind.limit_s:g} s" for kind in KINDS)
    about = f"Of the calls that came in that second. Limits: {limits}."
    yield _Plot("Time to first token, p99", about, "ms", _ttfts(seconds))
    about = f"Of the answers that ended: the mean of {_MEAN_S} seconds."
    yield _Plot("Tokens by tenant", about, "tok/s", _tenants(seconds))
    yield _Plot("Waiting", "Calls in the queue of the gateway.", "calls", [_waiting(seconds)])


def _of_engines(seconds: list[Second]) -> Iterator[_Plot]:
    in_flight = _engines(seconds, lambda one: one.in_flight)
    yield _Plot("Calls at the engines", "Sampled twice a second.", "calls", in_flight)
    about = "Calls that each engine gets at once. The gateway lowers this for an engine that cannot keep up."
    yield _Plot("Limits of the engines", about, "calls", _engines(seconds, lambda one: one.limit))
    about = "1: the gateway sends no calls to the engine. Between: it tries one."
    yield _Plot("Breakers", about, "", _engines(seconds, lambda one: _BREAKERS.get(one.breaker)))
    about = "Further rounds for calls that had failed, since the start."
    yield _Plot("Retries", about, "retries", _engines(seconds, lambda one: one.retries))


def _timeline(result: Result, plot: _Plot) -> Html:
    end = max(result.seconds, 1e-9)
    moments = [second.at_s + 0.5 for second in result.timeline]
    chart = Chart(
        title=plot.title,
        about=plot.about,
        unit=plot.unit,
        xs=[min(1.0, moment / end) for moment in moments],
        x_names=[duration(round(moment)) for moment in moments],
        x_title="",
        ticks=[(at / end, clock(at)) for at in clock_ticks(end)],
        series=plot.series,
        bands=[
            Band(begin=one.begin_s / end, end=one.end_s / end, labels=[one.name]) for one in result.phases
        ],
        group="time",
        height=130,
    )
    return lines(in_seconds(chart))


def _calls(seconds: list[Second]) -> list[Series]:
    return [
        Series(name="came", tone="quiet", values=[one.sent for one in seconds]),
        Series(name="good", tone="good", values=[one.good for one in seconds]),
        Series(name="shed", tone="due", values=[one.shed for one in seconds]),
        Series(name="failed", tone="bad", values=[one.failed for one in seconds]),
    ]


def _ttfts(seconds: list[Second]) -> list[Series]:
    return [
        Series(name=kind.name, tone=tone, values=[one.ttft_p99_ms.get(kind.name) for one in seconds])
        for kind, tone in zip(KINDS, _TONES, strict=False)
    ]


def _waiting(seconds: list[Second]) -> Series:
    return Series(name="waiting", tone="p50", values=[one.now and one.now.waiting for one in seconds])


def _tenants(seconds: list[Second]) -> list[Series]:
    return [
        Series(name=tenant.name, tone=tone, values=_mean([one.tokens.get(tenant.name, 0) for one in seconds]))
        for tenant, tone in zip(TENANTS, _TONES, strict=True)
    ]


def _mean(counts: list[int]) -> Values:
    """Return the mean of each second and those before it: answers of a single second are too few for a picture."""
    latest = [counts[max(0, at + 1 - _MEAN_S) : at + 1] for at in range(len(counts))]
    return [sum(part) / len(part) for part in latest]


def _engines(seconds: list[Second], pick: Callable[[EngineNow], float | None]) -> list[Series]:
    return [
        Series(name=name, tone=tone, values=_of_engine(seconds, name, pick))
        for name, tone in zip(ENGINES, _TONES, strict=False)
    ]


def _of_engine(seconds: list[Second], name: str, pick: Callable[[EngineNow], float | None]) -> Values:
    return [
        next((pick(one) for one in second.now.engines if one.name == name), None) if second.now else None
        for second in seconds
    ]
