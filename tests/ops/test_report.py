"""The report of a load test: a whole page by itself, true to the result, and safe whatever a server put into it."""

from __future__ import annotations

import base64
import random
import re
from pathlib import Path

import msgspec
import pytest
from load_results import WELL, result, step, whole
from pages import HOSTILE, Page

from tidegate.ops.load.report.charts import Chart, Series, lines, spaced
from tidegate.ops.load.report.numbers import NOTHING, duration, number, signed, with_unit
from tidegate.ops.load.report.page import page
from tidegate.ops.load.report.scales import Scale, load_scale, value_scale
from tidegate.ops.load.report.words import tiles, verdict
from tidegate.ops.load.result import Check, Metric, Result, Second, Step, read


def charts(found: Page) -> dict[str | None, dict]:
    """What each chart tells the pointer, by the chart's title."""
    titles = [a["aria-label"] for a in found.all("svg") if "aria-label" in a]
    data = [msgspec.json.decode(a["data-chart"] or "") for a in found.all("div") if "data-chart" in a]
    with_data = [title for title in titles if title]
    return dict(zip(with_data[: len(data)], data, strict=False))


def closed(**changed) -> Step:
    """A step in which every request failed: no latency was measured."""
    fields = {
        "name": "10 users",
        "users": 10,
        "began_s": 0.0,
        "duration_s": 3.0,
        "requests": 7,
        "errors": {"connect": 7},
        "error_examples": {"connect": "refused"},
        "metrics": {
            "error_fraction": Metric(unit="ratio", avg=1.0),
            "request_throughput": Metric(unit="requests/sec", avg=0.0),
        },
        "histograms": {},
        "timeline": [
            Second(at_s=float(i), sent=2, finished=0, failed=2, in_flight=0, output_tokens=0)
            for i in range(3)
        ],
        "health": WELL,
        "checks": [
            Check(
                name="TTFT p95", wanted="< 2000 ms", value=None, unit="ms", passed=None, note="not measured"
            )
        ],
    }
    return Step(**{**fields, **changed})


# -------------------------------------------------------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def ramp() -> Result:
    return result(seconds=12)


@pytest.fixture(scope="module")
def ramped(ramp: Result) -> Page:
    return Page(page(ramp))


def test_it_asks_nobody_for_anything(ramped: Page, ramp: Result) -> None:
    html = page(ramp)
    policy = next(
        a["content"] for a in ramped.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy
    links = [
        a.get(name)
        for _, a in ramped.tags
        for name in ("href", "src", "srcset", "action", "data")
        if a.get(name)
    ]
    assert links
    assert all(link and link.startswith("data:") for link in links)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|\blink\s+rel", html)


def test_every_step_stands_in_the_table_with_its_figures(ramped: Page, ramp: Result) -> None:
    for one in ramp.steps:
        cells = ramped.row(f"{one.users} users")
        assert cells[1] == f"{one.requests:,}"
        for metric, stat in (
            ("time_to_first_token", "p50"),
            ("time_to_first_token", "p95"),
            ("time_to_first_token", "p99"),
            ("inter_token_latency", "p95"),
            ("inter_chunk_latency", "p99"),
            ("output_token_throughput", "avg"),
            ("goodput", "avg"),
        ):
            assert number(getattr(one.metrics[metric], stat)) in cells


def test_every_figure_is_defined(ramped: Page, ramp: Result) -> None:
    for name, meaning in ramp.definitions.items():
        assert name in ramped.text
        assert meaning in ramped.text


def test_the_plots_hold_what_was_measured(ramped: Page, ramp: Result) -> None:
    told = [msgspec.json.decode(a["data-chart"] or "") for a in ramped.all("div") if "data-chart" in a]
    first = told[0]
    assert first["names"] == ["10 users", "50 users", "100 users", "200 users"]
    assert first["at"] == sorted(first["at"])
    assert [one["name"] for one in first["series"]][:3] == ["p50", "p95", "p99"]
    wanted = [one.metrics["time_to_first_token"].p99 for one in ramp.steps]
    assert first["series"][2]["values"] == pytest.approx(wanted, abs=1e-3)
    sent = next(one for plot in told for one in plot["series"] if one["name"] == "sent")
    # The last second of each step is cut short and stays out.
    seconds = [second.sent for one in ramp.steps for second in one.timeline[:-1]]
    assert [value for value in sent["values"] if value is not None] == seconds


def test_histograms_have_a_bar_for_every_bin_with_samples(ramped: Page, ramp: Result) -> None:
    bars = [a for a in ramped.all("rect") if a.get("class") == "bar"]
    filled = sum(count > 0 for one in ramp.steps for h in one.histograms.values() for count in h.counts)
    assert len(bars) == filled


def test_the_result_can_be_taken_out_again(ramped: Page, ramp: Result, tmp_path: Path) -> None:
    link = next(a["href"] for a in ramped.all("a") if a.get("download") == "result.json")
    assert link is not None
    kept = tmp_path / "result.json"
    kept.write_bytes(base64.b64decode(link.partition(",")[2]))
    assert read(kept) == ramp


def test_errors_are_told_by_kind_with_a_message(ramped: Page, ramp: Result) -> None:
    row = next(cells for cells in ramped.cells if cells[0].startswith("429 rate_limited"))
    count = ramp.steps[-1].errors["429 rate_limited"]
    assert row[-1] == f"{count:,}"
    assert "Too many requests" in row[0]


# ---------------------------------------------------------------------------------------------------------- the verdict


def test_the_verdict_names_the_step_and_the_criterion(ramp: Result) -> None:
    found = verdict(ramp)
    missed = ramp.steps[-1].checks[0]
    assert found.kind == "failed"
    assert found.sentence.startswith(
        f"At 200 users TTFT p95 {with_unit(missed.value, 'ms')} (wanted < 150 ms) and errors"
    )
    assert found.sentence.endswith("Every criterion held up to 100 users.")


def test_a_run_that_keeps_everything_has_passed() -> None:
    good = result((10, 50), seconds=6)
    assert (verdict(good).kind, verdict(good).sentence) == (
        "passed",
        "Every criterion that could be judged held at all 2 steps, up to 50 users.",
    )
    assert "Not judged: throughput: a closed loop has a share only of a --target." in Page(page(good)).text
    assert tiles(good)[0].figure == "50 users"


def test_nothing_is_said_to_have_passed_without_criteria() -> None:
    bare = whole([msgspec.structs.replace(one, checks=[]) for one in result((10,), seconds=5).steps])
    assert verdict(bare).kind == "unjudged"


@pytest.mark.parametrize("where", ["interrupted", "degraded"])
def test_doubtful_figures_are_announced_before_all_others(where: str, ramp: Result) -> None:
    assert 'role="alert"' not in page(ramp)
    html = page(msgspec.structs.replace(ramp, **{where: True}))
    assert html.index('role="alert"') < html.index("Figures by load")


def test_the_tester_says_at_which_step_it_was_unwell(ramp: Result) -> None:
    ill = msgspec.structs.replace(WELL, degraded=True, why="it used 99% of a core")
    steps = [*ramp.steps[:-1], msgspec.structs.replace(ramp.steps[-1], health=ill)]
    assert "at 200 users it used 99% of a core" in Page(page(whole(steps, degraded=True))).text


# ------------------------------------------------------------------------------------------------- what may be missing


def test_a_result_without_steps_is_a_page() -> None:
    assert "No step was run." in Page(page(whole([]))).text


def test_one_step_has_no_plots_over_load_but_all_others() -> None:
    text = Page(page(result((25,), seconds=5))).text
    assert "Over load" not in text
    assert "Over time" in text
    assert "Spread" in text


@pytest.mark.parametrize("steps", [1, 3])
def test_a_run_in_which_everything_failed_is_a_page(steps: int) -> None:
    failed = whole([closed(users=10 * (i + 1), began_s=i * 3.0) for i in range(steps)], passed=False)
    found = Page(page(failed, failed))
    assert "connect" in found.text
    assert "refused" in found.text
    assert found.row("10 users")[1] == "7"


def test_a_step_that_measured_nothing_leaves_a_gap_between_two_that_did() -> None:
    good = result((10, 20, 30), seconds=5)
    steps = [good.steps[0], closed(users=20, began_s=6.5), good.steps[2]]
    found = Page(page(whole(steps)))
    plot = msgspec.json.decode(next(a["data-chart"] for a in found.all("div") if "data-chart" in a) or "")
    assert [value is None for value in plot["series"][0]["values"]] == [False, True, False]


def test_an_export_of_aiperf_has_its_percentiles_as_curves(tmp_path: Path) -> None:
    export = tmp_path / "profile_export_aiperf.json"
    figures = {
        "unit": "ms",
        "avg": 50.0,
        "p50": 49.0,
        "p90": 60.0,
        "p95": 70.0,
        "p99": 90.0,
        "min": 40.0,
        "max": 95.0,
    }
    export.write_bytes(msgspec.json.encode({"request_latency": figures, "time_to_first_token": figures}))
    text = Page(page(read(export))).text
    assert "AIPerf" in text
    assert "The axis stretches the tail" in text


def test_two_steps_of_one_load_are_told_apart() -> None:
    cold, warm = result((10, 20), seconds=5).steps
    steps = [
        msgspec.structs.replace(cold, name="cold"),
        msgspec.structs.replace(warm, name="warm", users=10),
    ]
    text = Page(page(whole(steps))).text
    assert "steps, in their order" in text
    assert "cold" in text
    assert "warm" in text


def test_an_open_loop_is_plotted_over_the_rate_it_offered() -> None:
    steps = [
        msgspec.structs.replace(one, users=None, rate_per_s=rate, name="")
        for one, rate in zip(result((10, 20, 30), seconds=5).steps, (2.5, 5.0, 10.0), strict=True)
    ]
    found = Page(page(whole(steps)))
    assert "requests a second offered" in found.text
    assert "offered" in found.words
    assert found.row("2.50 req/s")


def test_a_long_run_is_drawn_with_few_points_and_says_so() -> None:
    long = result((3,), seconds=5).steps[0]
    timeline = [msgspec.structs.replace(long.timeline[0], at_s=float(i), sent=i % 2) for i in range(3600)]
    found = Page(page(whole([msgspec.structs.replace(long, timeline=timeline, duration_s=3600.0)])))
    plots = [
        msgspec.json.decode(a["data-chart"] or "") for a in found.all("div") if a.get("data-group") == "time"
    ]
    assert plots
    assert all(len(plot["at"]) <= 401 for plot in plots)
    assert "Each point covers 9 s" in found.text
    mean = sum(plots[0]["series"][0]["values"]) / len(plots[0]["at"])
    assert mean == pytest.approx(0.5, abs=0.01)


# ------------------------------------------------------------------------------------------------------------ hostility


def test_text_from_outside_stays_text() -> None:
    rng = random.Random(3)
    evil = step(rng, users=5, began_s=0.0, slower=1.0, seconds=5)
    evil = msgspec.structs.replace(
        evil,
        users=None,
        name=HOSTILE,
        errors={HOSTILE: 3},
        error_examples={HOSTILE: HOSTILE},
        checks=[Check(name=HOSTILE, wanted=HOSTILE, value=1.0, unit=HOSTILE, passed=False, note=HOSTILE)],
        health=msgspec.structs.replace(WELL, degraded=True, why=HOSTILE),
    )
    other = msgspec.structs.replace(evil, began_s=6.0, name=HOSTILE + "2")
    texts = ("url", "model", "started_at", "version", "tool")
    bad = whole(
        [evil, other],
        **dict.fromkeys(texts, HOSTILE),
        options={HOSTILE: HOSTILE, "x": {HOSTILE: [HOSTILE]}},
        definitions={HOSTILE: HOSTILE},
        notes=[HOSTILE],
    )
    found = Page(page(bad, bad))
    assert len(found.all("script")) == 1
    assert found.all("img") == []
    assert [name for _, a in found.tags for name in a if name.startswith("on")] == []
    assert found.text.count(HOSTILE) > 10


# --------------------------------------------------------------------------------------------------------- the baseline


def test_with_a_baseline_every_figure_says_how_it_moved() -> None:
    old, new = result(seconds=20), result(seed=2, slower=1.3, seconds=20)
    found = Page(page(new, old))
    ttft = found.row("100 users")[3]
    assert re.fullmatch(r"[\d.]+\+(29|30|31) % ▼", ttft)
    assert "The old result as JSON" in found.text
    assert any("worse" in (a.get("class") or "") for a in found.all("small"))


def test_the_same_run_twice_has_no_arrows(ramp: Result) -> None:
    found = Page(page(ramp, ramp))
    assert found.row("10 users")[3].endswith("±0 %")
    assert [cell for row in found.cells for cell in row if "▲" in cell or "▼" in cell] == []


# ------------------------------------------------------------------------------------------------------ charts and words


def chart(values: list[float | None], **changed) -> str:
    xs = [i / (len(values) - 1) for i in range(len(values))]
    names = [str(i) for i in range(len(values))]
    fields = {
        "title": "t", "about": "", "unit": "ms", "xs": xs, "x_names": names, "x_title": "", "ticks": [],
        "series": [Series(name="a", tone="p50", values=values)],
    }  # fmt: skip
    return lines(Chart(**{**fields, **changed}))


def test_a_line_has_gaps_where_nothing_was_measured() -> None:
    html = chart([1.0, 2.0, None, 4.0, None, 3.0, 3.0])
    assert html.count("M") - html.count("Me") == 2
    assert html.count("<circle") == 1


def test_a_limit_far_above_is_told_instead_of_drawn() -> None:
    far = chart([1.0, 2.0], limits=[("wanted < 100 ms", 100.0)])
    assert 'class="limit"' not in far
    assert "The limit, 100 ms, is above this scale." in far
    assert 'class="limit"' in chart([1.0, 2.0], limits=[("wanted < 3 ms", 3.0)])


def test_nothing_measured_is_said() -> None:
    assert "Nothing was measured." in chart([None, None])


def test_latencies_that_span_much_are_on_a_log_scale() -> None:
    assert "ms, log scale" in chart([5.0, 900.0])
    assert "log scale" not in chart([5.0, 90.0])


@pytest.mark.parametrize("high", [0.0, 0.003, 0.97, 7.3, 99.0, 1234.0, 8_000_001.0])
def test_axes_end_on_round_values_at_or_above_the_highest(high: float) -> None:
    scale = value_scale(0.0, high, log=False)
    ticks = scale.ticks(5)
    assert scale.high >= high
    assert ticks[0] == 0
    assert ticks[-1] == pytest.approx(scale.high)
    assert 3 <= len(ticks) <= 7


@pytest.mark.parametrize(("low", "high"), [(0.01, 0.02), (3.0, 4000.0), (1.0, 1e7), (49.0, 51.0)])
def test_log_axes_hold_both_ends(low: float, high: float) -> None:
    scale = value_scale(low, high, log=True)
    assert scale.low <= low <= high <= scale.high
    assert 2 <= len(scale.ticks(5)) <= 6
    assert scale.at(scale.low) == 0
    assert scale.at(scale.high) == 1


def test_labels_that_would_touch_are_left_out() -> None:
    scale = load_scale([1, 2, 4, 8, 200])
    assert scale.log
    even = Scale(0, 200)
    kept = spaced([(even.at(x), str(x)) for x in (1, 2, 4, 8, 100, 200)])
    assert [text for _, text in kept] == ["1", "100", "200"]


def test_numbers_as_people_read_them() -> None:
    assert [number(x) for x in (None, float("nan"), 0.0, 4.967, 12.34, 99.96, 1234.4)] == [
        NOTHING, NOTHING, "0", "4.97", "12.3", "100", "1,234",
    ]  # fmt: skip
    assert with_unit(12_340.0, "ms") == "12.3 s"
    assert with_unit(0.021, "ratio") == "2.10 %"
    assert [signed(x, "%") for x in (12.34, -3.21, 0.01)] == ["+12 %", "\N{MINUS SIGN}3.2 %", "±0 %"]
    assert [duration(x) for x in (45, 60, 125, 7380)] == ["45 s", "1 min", "2 min 5 s", "2 h 3 min"]
