"""Plots of a report: the whole run second by second, its steps marked."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from tidegate.ops.load.report.charts import Band, Chart, Series, Values, in_seconds, lines
from tidegate.ops.load.report.compare import labels
from tidegate.ops.load.report.markup import Html
from tidegate.ops.load.report.numbers import duration, number
from tidegate.ops.load.report.scales import Scale
from tidegate.ops.load.result import Result, Second, Step

# With more points than this, a line is wider than the changes that it shows.
_FEW = 3
_MOST_POINTS = 400


class _Times(msgspec.Struct, frozen=True, kw_only=True):
    """The seconds of a whole run, `each` seconds per point, with an empty point between steps that do not touch."""

    parts: list[list[Second]]
    scale: Scale
    bands: list[Band]
    each: int

    def mean(self, pick: Callable[[Second], float]) -> Values:
        """Return the mean of each point's seconds."""
        return [sum(pick(s) for s in part) / len(part) if part else None for part in self.parts]

    def worst(self, pick: Callable[[Second], float | None]) -> Values:
        """Return the largest value of each point's seconds. A point without values gets None."""
        return [max((v for s in part if (v := pick(s)) is not None), default=None) for part in self.parts]


def over_time(result: Result) -> list[Html]:
    """Return plots of the whole run over time, or none if no step has a timeline."""
    if not any(step.timeline for step in result.steps):
        return []
    times = _times(result.steps)

    ttft = [
        Series(name="p50", tone="p50", values=_middle(times.parts)),
        Series(name="p95", tone="p95", values=times.worst(lambda s: s.ttft_p95_ms)),
    ]
    gaps = [Series(name="p95", tone="p95", values=times.worst(lambda s: s.gap_p95_ms))]
    under_way = [Series(name="in flight", tone="p50", values=times.mean(lambda s: s.in_flight))]
    tokens = [Series(name="tokens", tone="p50", values=times.mean(lambda s: s.output_tokens))]
    when_due = "Of the requests that were due in that second, from when they were due."
    stalls = "The p95 of the requests due in that second. It rises when a server stalls."
    found = [
        _timeline(times, "Requests", _requests_about(times), "req/s", _flow(times)),
        _timeline(times, "Time to first token", when_due, "ms", ttft),
        _timeline(times, "In flight", "Requests under way at the end of each second.", "requests", under_way),
        _timeline(times, "Pauses between chunks", stalls, "ms", gaps),
        _timeline(times, "Output tokens", "Chunks with content, each second.", "tok/s", tokens),
    ]
    return [chart for chart in found if chart is not None]


def _requests_about(times: _Times) -> str:
    merged = (
        f" Each point covers {times.each} s; a p95 is that of its worst second." if times.each > 1 else ""
    )
    return f"Sent and answered, each second.{merged}"


def _flow(times: _Times) -> list[Series]:
    failed = times.mean(lambda s: s.failed)
    return [
        Series(name="sent", tone="quiet", values=times.mean(lambda s: s.sent)),
        Series(name="whole", tone="p50", values=times.mean(lambda s: s.finished)),
        *([Series(name="failed", tone="bad", values=failed)] if any(failed) else []),
    ]


def _times(steps: list[Step]) -> _Times:
    begun = [step for step in steps if step.timeline]
    end = max(max(step.began_s + step.duration_s, step.timeline[-1].at_s + 1) for step in begun)
    scale = Scale(0.0, max(end, 1.0))
    each = math.ceil(sum(len(step.timeline) for step in begun) / _MOST_POINTS)
    parts: list[list[Second]] = []
    for step in begun:
        seconds = _whole_seconds(step)
        parts += [seconds[i : i + each] for i in range(0, len(seconds), each)] + [[]]
    bands = [
        Band(
            begin=scale.at(step.began_s),
            end=scale.at(step.began_s + step.duration_s),
            labels=[label, *_short(step)],
        )
        for step, label in zip(steps, labels(steps), strict=True)
    ]
    return _Times(parts=parts[:-1], scale=scale, bands=bands, each=each)


def _whole_seconds(step: Step) -> list[Second]:
    """Return the seconds without the last one. The step's end cuts it short, so it would look like less load."""
    return step.timeline[:-1] if len(step.timeline) > _FEW else step.timeline


def _short(step: Step) -> list[str]:
    amount = step.users if step.users is not None else step.rate_per_s
    return [] if amount is None else [number(amount)]


def _middle(parts: list[list[Second]]) -> Values:
    found: Values = []
    for part in parts:
        known = sorted(second.ttft_p50_ms for second in part if second.ttft_p50_ms is not None)
        found.append(known[len(known) // 2] if known else None)
    return found


def _timeline(times: _Times, title: str, about: str, unit: str, series: list[Series]) -> Html | None:
    if all(value is None for one in series for value in one.values):
        return None
    moments = _moments(times.parts)
    chart = Chart(
        title=title,
        about=about,
        unit=unit,
        xs=[times.scale.at(moment) for moment in moments],
        x_names=[duration(round(moment)) for moment in moments],
        x_title="",
        ticks=[(times.scale.at(t), clock(t)) for t in clock_ticks(times.scale.high)],
        series=series,
        bands=times.bands,
        group="time",
        height=130,
    )
    return lines(in_seconds(chart))


def _moments(parts: list[list[Second]]) -> list[float]:
    """Return the time of the middle of each point. An empty point is placed just after the one before it."""
    found: list[float] = []
    for part in parts:
        found.append((part[0].at_s + part[-1].at_s + 1) / 2 if part else found[-1] + 0.01)
    return found


def clock(seconds: float) -> str:
    """Format a time of the run: 1:30, 2:05:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours}:{left:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def clock_ticks(end: float) -> list[float]:
    """Return round times of a run, up to its end."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200)
    step = next((s for s in steps if end / s <= 7), 86_400)
    return [float(i * step) for i in range(int(end / step) + 1)]
