"""Compares two results: which figures changed by more than noise, and whether for better or worse.

A result has only summaries of a run, so resampling is not possible. A figure counts as the same if the change is inside the
noise band, or if the confidence intervals of the two percentiles overlap. Such an interval follows from the number of
samples alone (the binomial interval of an order statistic), and is interpolated from the percentiles in the result. It
assumes independent samples. Requests to one server are not quite independent, so the noise band applies in addition.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal, cast

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.ops.load.report.numbers import NOTHING, number, rounded, signed, with_unit
from tidegate.ops.load.result import Metric, Result, Step

Verdict = Literal["better", "worse", "same", "unknown"]

_SHARES = frozenset({"error_fraction", "good_request_fraction"})
# Options that change the requests. The level of load is compared for each step.
_ASKED = (
    "trace",
    "speed",
    "arrivals",
    "burstiness",
    "max_in_flight",
    "prompts",
    "stream",
    "fields",
    "timeout_s",
)
_SHAPED = ("prompt_tokens", "output_tokens", "spread", "prefix_tokens", "groups", "turns")
# If two intervals of ± 1.39 standard errors (83 %) do not overlap, the values differ by more than 1.96 standard errors of
# their difference (95 %).
_DEVIATIONS = 1.39
TOO_FEW = "too few samples"


class Measure(msgspec.Struct, frozen=True):
    """One figure that is compared: a statistic of a metric, and whether lower or higher is better."""

    metric: str
    stat: str
    label: str
    better: Literal["lower", "higher"]


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """The largest change that counts as noise: `percent` of the old value, and for times at least `ms`.

    Shares (errors, good requests) are compared in percentage points, with `points`.
    """

    percent: float = 5.0
    points: float = 0.5
    ms: float = 0.1


class Row(msgspec.Struct, kw_only=True):
    """One figure in both results. `change` is in `change_unit`: % of the old value, or percentage points for a share.

    `verdict` is "unknown" if one of the two results has no such figure. `note` has the reason if the verdict is "same"
    although the change is outside the noise band.
    """

    step: str
    metric: str
    stat: str
    label: str
    unit: str
    old: float | None
    new: float | None
    change: float | None
    change_unit: str
    verdict: Verdict
    note: str = ""


MEASURES = (
    Measure("time_to_first_token", "p50", "TTFT p50", "lower"),
    Measure("time_to_first_token", "p95", "TTFT p95", "lower"),
    Measure("time_to_first_token", "p99", "TTFT p99", "lower"),
    Measure("time_to_first_token_from_schedule", "p95", "TTFT from schedule p95", "lower"),
    Measure("time_to_first_token_from_schedule", "p99", "TTFT from schedule p99", "lower"),
    Measure("inter_token_latency", "p50", "ITL p50", "lower"),
    Measure("inter_token_latency", "p95", "ITL p95", "lower"),
    Measure("inter_chunk_latency", "p99", "Pause p99", "lower"),
    Measure("request_latency", "p50", "Request latency p50", "lower"),
    Measure("request_latency", "p95", "Request latency p95", "lower"),
    Measure("request_throughput", "avg", "Requests per second", "higher"),
    Measure("output_token_throughput", "avg", "Output tokens per second", "higher"),
    Measure("goodput", "avg", "Goodput", "higher"),
    Measure("good_request_fraction", "avg", "Good requests", "higher"),
    Measure("error_fraction", "avg", "Errors", "lower"),
)


def value(step: Step, metric: str, stat: str) -> float | None:
    """Return one figure of a step, with shares in %. None if the step has no such figure."""
    found = step.metrics.get(metric)
    figure: float | None = getattr(found, stat) if found else None
    if figure is None or not math.isfinite(figure):
        return None
    return figure * 100 if found and metric in _SHARES and found.unit != "%" else figure


def unit(step: Step, metric: str) -> str:
    """Return the unit of the figure that `value` returns, empty if the step has no such figure."""
    found = step.metrics.get(metric)
    return "" if found is None else "%" if metric in _SHARES else found.unit


def load_of(step: Step) -> str:
    """Return the level of load as text: `10 users`, `2.5 req/s`, or the step's name."""
    if step.users is not None:
        return "1 user" if step.users == 1 else f"{step.users:,} users"
    return f"{number(step.rate_per_s)} req/s" if step.rate_per_s is not None else step.name


def labels(steps: list[Step]) -> list[str]:
    """Return a label for each step. Steps with the same load are distinguished by their names or their positions."""
    loads = [load_of(step) for step in steps]
    shown = [
        load if loads.count(load) == 1 else step.name or load for load, step in zip(loads, steps, strict=True)
    ]
    return [label if shown.count(label) == 1 else f"{label} (step {i})" for i, label in enumerate(shown, 1)]


def pairs(old: Result, new: Result) -> list[tuple[Step, Step]]:
    """Return the pairs of steps to compare: steps of the same load in order, then steps of unknown load in order."""
    left, found = list(old.steps), list[tuple[Step, Step]]()
    for step in new.steps:
        same = next((other for other in left if _load(step) and _load(other) == _load(step)), None)
        if same:
            left.remove(same)
            found.append((same, step))
    rest = [step for step in new.steps if all(step is not paired for _, paired in found)]
    found += [(a, b) for a, b in zip(left, rest, strict=False) if not (_load(a) and _load(b))]
    order = {id(step): place for place, step in enumerate(new.steps)}
    return sorted(found, key=lambda pair: order[id(pair[1])])


def table(old: Result, new: Result, noise: Noise | None = None) -> list[Row]:
    """Return a row for every figure of `MEASURES` that either result has, for each pair of steps."""
    noise = noise or Noise()
    names = {id(step): label for step, label in zip(new.steps, labels(new.steps), strict=True)}
    rows: list[Row] = []
    for before, after in pairs(old, new):
        label = names[id(after)]
        if load_of(before) != load_of(after):
            label = f"{label} (old: {load_of(before)})"
        both = (compared(before, after, measure, noise) for measure in MEASURES)
        rows += [msgspec.structs.replace(row, step=label) for row in both if row]
    return rows


def compared(before: Step, after: Step, measure: Measure, noise: Noise | None = None) -> Row | None:
    """Compare one figure of two steps. Returns None if neither step has it."""
    noise = noise or Noise()
    old, new = (value(step, measure.metric, measure.stat) for step in (before, after))
    if old is None and new is None:
        return None
    share = measure.metric in _SHARES
    row = Row(
        step=load_of(after),
        metric=measure.metric,
        stat=measure.stat,
        label=measure.label,
        unit=unit(after, measure.metric) or unit(before, measure.metric),
        old=old,
        new=new,
        change=None,
        change_unit="points" if share else "%",
        verdict="unknown",
    )
    if old is None or new is None:
        row.note = "not in the old result" if old is None else "not in the new result"
        return row
    row.change = new - old if share else (new - old) / old * 100 if old else None
    row.verdict = "better" if (new < old) == (measure.better == "lower") else "worse"
    if _within(old, new, row, noise):
        row.verdict = "same"
    elif measure.stat.startswith("p") and _by_chance(before, after, measure):
        row.verdict, row.note = "same", TOO_FEW
    return row


def unmatched(old: Result, new: Result) -> tuple[list[str], list[str]]:
    """Return the loads that only the old result has, and those that only the new result has."""
    both = pairs(old, new)
    only_old = [load_of(s) for s in old.steps if all(s is not a for a, _ in both)]
    only_new = [load_of(s) for s in new.steps if all(s is not b for _, b in both)]
    return only_old, only_new


def differences(old: Result, new: Result) -> list[str]:
    """Return the differences between the two tests themselves, which alone can change the figures.

    Returns an empty list for a result without options, such as AIPerf's.
    """
    found = (
        [f"model {old.model} and {new.model}"] if old.model and new.model and old.model != new.model else []
    )
    for name in (*_ASKED, *_SHAPED):
        before, after = (_asked(result.options, name) for result in (old, new))
        if old.options and new.options and before != after:
            words = name.replace("_", " ")
            found.append(f"{words} {before} and {after}")
    for who, result in (("old", old), ("new", new)):
        if result.degraded:
            found.append(f"the tester was too busy in the {who} one")
        if result.interrupted:
            found.append(f"the {who} one was cut short")
    return found


def _asked(options: dict[str, Any], name: str) -> str:
    shape = cast("dict[str, Any]", options.get("shape") or {})
    found = shape.get(name) if name in _SHAPED else options.get(name)
    return str(found) if found not in ("", None, {}) else "none"


def show(old: Result, new: Result, console: Console, noise: Noise | None = None) -> None:
    """Print the comparison: each load, followed by its figures with their verdicts, as a word and a sign.

    The output fits 80 columns: each load has its own line, and each note is printed once, at the end.
    """
    noise = noise or Noise()
    rows = table(old, new, noise)
    page = Table(title="Old and new", title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    page.add_column("", overflow="fold", min_width=max(len(measure.label) for measure in MEASURES))
    for name in ("old", "new", "change"):
        page.add_column(name, justify="right", no_wrap=True)
    page.add_column("", no_wrap=True)
    last = None
    for row in rows:
        if row.step != last:
            if last is not None:
                page.add_row()
            page.add_row(escape(row.step), style="bold")
        style = {"better": "blue", "worse": "bold yellow"}.get(row.verdict, "")
        change = "" if row.change is None else signed(row.change, row.change_unit)
        figures = (with_unit(row.old, row.unit), with_unit(row.new, row.unit), change)
        page.add_row(row.label, *figures, _word(row), style=style)
        last = row.step
    if rows:
        console.print(page)
    if any(row.note == TOO_FEW for row in rows):
        console.print(f"* {TOO_FEW} to tell", highlight=False)
    if unlike := differences(old, new):
        console.print(f"[bold]Not the same test[/]: {escape('; '.join(unlike))}.", highlight=False)
    for who, loads in zip(("old", "new"), unmatched(old, new), strict=True):
        if loads:
            console.print(f"Only in the {who} result: {escape(', '.join(loads))}.", highlight=False)
    console.print(verdict(rows, noise), highlight=False)


def verdict(rows: list[Row], noise: Noise | None = None) -> str:
    """Return a summary of the comparison, with the limits of noise."""
    noise = noise or Noise()
    if not rows:
        return "The results have no step in common: there is nothing to compare."
    count = {word: sum(row.verdict == word for row in rows) for word in ("better", "worse", "same")}
    return (
        f"{count['better']} figures better, {count['worse']} worse, {count['same']} the same. The same means: within "
        f"{rounded(noise.percent)} % ({rounded(noise.points)} points for shares), or too few samples to judge."
    )


def _word(row: Row) -> str:
    sign = {"better": "▲ better", "worse": "▼ worse", "same": "same", "unknown": NOTHING}[row.verdict]
    return f"{sign} *" if row.note == TOO_FEW else sign


def _load(step: Step) -> tuple[str, float] | None:
    if step.users is not None:
        return "users", step.users
    return ("rate", step.rate_per_s) if step.rate_per_s is not None else None


def _within(old: float, new: float, row: Row, noise: Noise) -> bool:
    difference = abs(new - old)
    if row.change_unit == "points":
        return difference <= noise.points
    return difference <= abs(old) * noise.percent / 100 or (row.unit == "ms" and difference <= noise.ms)


def _by_chance(before: Step, after: Step, measure: Measure) -> bool:
    """Return whether the confidence intervals of both percentiles overlap. False if a number of samples is not known."""
    share = float(f"0.{measure.stat[1:]}")
    ranges = [_range(step.metrics[measure.metric], share) for step in (before, after)]
    if ranges[0] is None or ranges[1] is None:
        return False
    return ranges[0][0] <= ranges[1][1] and ranges[1][0] <= ranges[0][1]


def _range(metric: Metric, share: float) -> tuple[float, float] | None:
    """Return the confidence interval of a percentile: the values at the ranks share ± 1.39 √(share (1 - share) / n)."""
    if not metric.count:
        return None
    around = _DEVIATIONS * math.sqrt(share * (1 - share) / metric.count)
    known = quantiles(metric)
    if not known:
        return None
    return _between(known, share - around), _between(known, share + around)


def quantiles(metric: Metric) -> list[tuple[float, float]]:
    """Return the percentiles in the result as (share, value), from the minimum (0) to the maximum (1)."""
    names = ("min", "p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "p999", "max")
    shares = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
    values: list[float | None] = [getattr(metric, name) for name in names]
    return [(s, v) for s, v in zip(shares, values, strict=True) if v is not None and math.isfinite(v)]


def _between(known: list[tuple[float, float]], share: float) -> float:
    """Return the value at a share, interpolated linearly in the number of nines and the logarithm of the value.

    Latencies have long tails. Interpolation in the share itself would give the next percentile far too much weight.
    """
    for (low, a), (high, b) in itertools.pairwise(known):
        if low <= share <= high:
            part = (_nines(share) - _nines(low)) / (_nines(high) - _nines(low)) if high < 1 else 0.0
            return a * (b / a) ** part if a > 0 and b > 0 else a + (b - a) * part
    return known[0][1] if share < known[0][0] else known[-1][1]


def _nines(share: float) -> float:
    return -math.log10(1 - share)
