"""Two results side by side: what belongs together, what counts as noise, and which way is better."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import msgspec
import pytest
from load_results import result, whole
from rich.console import Console

from tidegate.ops.load.options import Options
from tidegate.ops.load.report.compare import (
    Measure,
    Noise,
    Row,
    compared,
    differences,
    pairs,
    show,
    table,
    unmatched,
    verdict,
)
from tidegate.ops.load.report.numbers import with_unit
from tidegate.ops.load.report.page import page
from tidegate.ops.load.result import Metric, Result, Step, read

TTFT95 = Measure("time_to_first_token", "p95", "TTFT p95", "lower")
RATE = Measure("request_throughput", "avg", "Requests per second", "higher")
ERRORS = Measure("error_fraction", "avg", "Errors", "lower")


@pytest.fixture(scope="module")
def old() -> Result:
    return result(seconds=20)


def with_metric(one: Step, name: str, metric: Metric) -> Step:
    return msgspec.structs.replace(one, metrics={**one.metrics, name: metric})


def judged(old: Result, measure: Measure, before: Metric, after: Metric, noise: Noise | None = None) -> Row:
    one = old.steps[0]
    row = compared(
        with_metric(one, measure.metric, before), with_metric(one, measure.metric, after), measure, noise
    )
    assert row is not None
    return row


def test_a_run_is_the_same_as_itself(old: Result) -> None:
    rows = table(old, old)
    assert len(rows) == 15 * len(old.steps)
    assert {row.verdict for row in rows} == {"same"}
    assert {row.change for row in rows} <= {0.0, None}


def test_a_slower_server_is_worse_and_the_other_way_round_better(old: Result) -> None:
    slow = result(seed=2, slower=1.5, seconds=20)
    for a, b, word in ((old, slow, "worse"), (slow, old, "better")):
        rows = {(row.step, row.label): row for row in table(a, b)}
        assert rows["100 users", "TTFT p50"].verdict == word
        assert rows["100 users", "Output tokens per second"].verdict == word
        assert rows["100 users", "Errors"].verdict == "same"
    change = {(row.step, row.label): row.change for row in table(old, slow)}["100 users", "TTFT p50"]
    assert change == pytest.approx(50, abs=2)


@pytest.mark.parametrize(
    ("new", "word"), [(95.1, "same"), (104.9, "same"), (94.0, "worse"), (106.0, "better")]
)
def test_the_band_around_the_old_value_is_noise(old: Result, new: float, word: str) -> None:
    rate = [Metric(unit="requests/sec", avg=value) for value in (100.0, new)]
    assert judged(old, RATE, *rate).verdict == word
    assert judged(old, RATE, *rate, Noise(percent=10)).verdict == "same"


def test_a_difference_that_a_clock_makes_is_no_difference(old: Result) -> None:
    itl = Measure("inter_token_latency", "p50", "ITL p50", "lower")
    before, after = (Metric(unit="ms", avg=1, p50=value) for value in (0.5, 0.58))
    assert judged(old, itl, before, after).verdict == "same"
    assert judged(old, itl, before, after, Noise(ms=0.01)).verdict == "worse"


def test_shares_are_compared_in_points(old: Result) -> None:
    before, little, much = (Metric(unit="ratio", avg=value) for value in (0.0, 0.004, 0.02))
    assert judged(old, ERRORS, before, little).verdict == "same"
    row = judged(old, ERRORS, before, much)
    assert (row.old, row.new, row.change, row.change_unit, row.verdict) == (0.0, 2.0, 2.0, "points", "worse")


def tail(p95: float, count: int | None) -> Metric:
    return Metric(
        unit="ms", avg=60, min=40, p50=55, p90=p95 * 0.8, p95=p95, p99=p95 * 1.5, max=p95 * 2, count=count
    )


def test_few_samples_cannot_show_a_difference_in_the_tail(old: Result) -> None:
    few = judged(old, TTFT95, tail(100, 60), tail(115, 60))
    assert (few.verdict, few.note) == ("same", "too few samples")
    assert judged(old, TTFT95, tail(100, 20_000), tail(115, 20_000)).verdict == "worse"
    assert judged(old, TTFT95, tail(100, None), tail(115, None)).verdict == "worse"


def test_a_figure_that_only_one_has_is_not_judged(old: Result) -> None:
    one = old.steps[0]
    without = msgspec.structs.replace(
        one, metrics={k: v for k, v in one.metrics.items() if k != "request_throughput"}
    )
    row = compared(without, one, RATE)
    assert row is not None
    assert (row.verdict, row.old, row.change, row.note) == ("unknown", None, None, "not in the old result")
    assert compared(without, without, RATE) is None


def test_from_nothing_there_is_no_percentage(old: Result) -> None:
    row = judged(old, RATE, Metric(unit="requests/sec", avg=0.0), Metric(unit="requests/sec", avg=5.0))
    assert (row.change, row.verdict) == (None, "better")


# ------------------------------------------------------------------------------------------------ which belongs to which


def test_steps_of_one_load_belong_together_wherever_they_stand(old: Result) -> None:
    new = whole([old.steps[3], old.steps[1]])
    assert [(a.users, b.users) for a, b in pairs(old, new)] == [(200, 200), (50, 50)]
    assert unmatched(old, new) == (["10 users", "100 users"], [])


def test_other_loads_are_not_compared(old: Result) -> None:
    new = result((5, 6), seconds=5)
    assert table(old, new) == []
    assert verdict([]).startswith("The results have no step in common")


def test_one_load_twice_is_matched_in_order(old: Result) -> None:
    cold = msgspec.structs.replace(old.steps[0], name="cold")
    warm = msgspec.structs.replace(old.steps[0], name="warm")
    twice = whole([cold, warm])
    assert [(a.name, b.name) for a, b in pairs(twice, twice)] == [("cold", "cold"), ("warm", "warm")]


def test_an_export_of_aiperf_is_compared_with_the_first_step(old: Result, tmp_path: Path) -> None:
    export = tmp_path / "profile_export_aiperf.json"
    figures = {name: msgspec.to_builtins(metric) for name, metric in old.steps[0].metrics.items()}
    export.write_bytes(msgspec.json.encode(figures))
    rows = table(read(export), whole(old.steps[:1]))
    assert {row.verdict for row in rows} == {"same"}
    assert {row.step for row in rows} == {"10 users (old: AIPerf)"}


# ------------------------------------------------------------------------------------------------------ how it is shown


def test_rows_are_json(old: Result) -> None:
    rows = table(old, result(seed=2, slower=1.2, seconds=20))
    assert msgspec.json.decode(msgspec.json.encode(rows), type=list[Row]) == rows


def test_it_prints_words_and_not_only_colours(old: Result) -> None:
    out = StringIO()
    console = Console(width=120, file=out)
    show(old, result((10, 100, 300), seed=2, slower=1.5, seconds=20), console)
    text = out.getvalue()
    assert "▼ worse" in text
    assert "TTFT p95" in text
    assert "Only in the old result: 50 users, 200 users." in text
    assert "Only in the new result: 300 users." in text
    assert "within 5 %" in text


def test_names_from_outside_are_not_taken_for_markup(old: Result) -> None:
    odd = whole([msgspec.structs.replace(old.steps[0], users=None, name="[/red] step")])
    out = StringIO()
    console = Console(width=120, file=out)
    show(odd, odd, console)
    assert "[/red] step" in out.getvalue()


def test_results_of_different_tests_are_called_that(old: Result) -> None:
    options = msgspec.to_builtins(Options(url="http://h/v1"))
    longer = {**options, "shape": {**options["shape"], "prompt_tokens": 512}, "fields": {"temperature": 0}}
    before = msgspec.structs.replace(old, options=options)
    after = msgspec.structs.replace(old, options=longer, model="other[/]", interrupted=True)
    assert differences(before, before) == []
    found = differences(before, after)
    assert f"model {old.model} and other[/]" in found
    assert "prompt tokens 128 and 512" in found
    assert "fields none and {'temperature': 0}" in found
    assert "the new one was cut short" in found
    printed = StringIO()
    show(before, after, Console(file=printed, width=200))
    assert "Not the same test" in printed.getvalue()
    assert "Not the same test" in page(after, before)
    aiperf = msgspec.structs.replace(old, options={}, model="")
    assert differences(aiperf, before) == []


def larger(step: Step) -> Step:
    """The step of a server that is a thousand times as fast, and as slow."""
    metrics = {
        name: Metric(
            unit=one.unit,
            avg=one.avg * 1000 if one.avg else one.avg,
            p50=one.p50 * 1000 if one.p50 else one.p50,
            count=3,
        )
        for name, one in step.metrics.items()
    }
    return msgspec.structs.replace(step, metrics={**step.metrics, **metrics})


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("name", ["", "a-trace-of-a-long-day-in-2024-and-of-its-long-night.csv"])
def test_it_is_whole_in_80_columns(old: Result, width: int, name: str) -> None:
    few = result((10, 100), seed=2, slower=1.5, seconds=20)
    if name:
        unlike = [msgspec.structs.replace(one, users=None, name=name) for one in few.steps[:1]]
        before = [msgspec.structs.replace(one, users=None, name=name) for one in old.steps[:1]]
        few, old = whole(unlike), whole(before)
    few = msgspec.structs.replace(few, steps=[larger(one) for one in few.steps])
    out = StringIO()
    show(old, few, Console(width=width, file=out))
    text = out.getvalue()
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in text
    for row in table(old, few):
        shown = [with_unit(row.old, row.unit), with_unit(row.new, row.unit)]
        assert any(line.startswith(row.label) and all(one in line for one in shown) for line in lines), row
    assert name[:24] in text
    few_samples = any(row.note == "too few samples" for row in table(old, few))
    assert ("\n* too few samples to tell" in text) == ("same *" in text) == few_samples
