"""From samples to figures: each definition, by hand."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.ops.load import figures
from tidegate.ops.load.figures import Slo
from tidegate.ops.load.judge import Criteria, judge, passed
from tidegate.ops.load.plan import Closed, Open
from tidegate.ops.load.run import Record
from tidegate.ops.load.sample import Sample

USERS = Closed(users=2, duration_s=10)


def answered(
    due: float, sent: float, *contents: float, done: float | None = None, tokens: int | None = None
) -> Sample:
    end = done if done is not None else contents[-1]
    count = tokens if tokens is not None else len(contents)
    return Sample(
        due=due, sent=sent, done=end, contents=array("d", contents), output_tokens=count, prompt_tokens=11
    )


def record(*samples: Sample, ended: float = 10.0, step=USERS) -> Record:
    return Record(step, began=0.0, ended=ended, samples=list(samples))


def test_every_figure_is_what_its_definition_says():
    sample = answered(1.0, 1.5, 2.0, 2.1, 2.4, done=2.5, tokens=5)
    found = figures.metrics(record(sample), Slo())
    average = {name: metric.avg for name, metric in found.items()}
    assert average == pytest.approx(
        {
            "time_to_first_token": 500,
            "time_to_first_token_from_schedule": 1000,
            "inter_token_latency": 100,  # (2.4 - 2.0) / 4
            "inter_chunk_latency": 200,  # 0.1 and 0.3
            "time_per_output_token": 125,  # (2.5 - 2.0) / 4
            "request_latency": 900,
            "request_latency_from_schedule": 1400,
            "input_sequence_length": 11,
            "output_sequence_length": 5,
            "cached_prompt_tokens": 0,
            "output_token_throughput_per_user": 10,
            "request_throughput": 0.1,
            "output_token_throughput": 0.5,
            "request_count": 1,
            "error_fraction": 0,
        }
    )
    assert set(found) <= set(figures.DEFINITIONS)


def test_a_failed_request_spoils_no_latency_and_counts_as_an_error():
    broken = Sample(due=0.0, sent=0.0, done=9.0, contents=array("d", [8.0]), error="truncated", detail="cut")
    found = figures.metrics(record(answered(0.0, 0.0, 1.0), broken), Slo())
    assert found["time_to_first_token"].max == pytest.approx(1000)
    assert found["error_fraction"].avg == 0.5
    assert figures.errors([broken, broken]) == ({"truncated": 2}, {"truncated": "cut"})


def test_goodput_counts_only_answers_that_keep_every_limit():
    fast = answered(0.0, 0.0, 0.1, 0.15)
    slow_start = answered(0.0, 0.0, 0.9, 0.95)
    stutters = answered(0.0, 0.0, 0.1, 0.5)
    one_token = answered(0.0, 0.0, 0.1)
    failed = Sample(due=0.0, error="timeout")
    found = figures.metrics(
        record(fast, slow_start, stutters, one_token, failed), Slo(ttft_ms=500, itl_ms=100)
    )
    assert found["goodput"].avg == pytest.approx(0.2)
    assert found["good_request_fraction"].avg == pytest.approx(0.4)


def test_an_answer_without_streaming_has_a_latency_and_no_ttft():
    found = figures.metrics(record(Sample(due=0.0, sent=1.0, done=3.0, output_tokens=4)), Slo())
    assert found["request_latency"].avg == pytest.approx(2000)
    assert "time_to_first_token" not in found


def test_nothing_measured_makes_no_figures_and_no_crash():
    empty = record(ended=0.0)
    found = figures.metrics(empty, Slo())
    assert found["request_count"].avg == 0
    assert figures.histograms(empty) == {}
    assert len(figures.timeline(empty, 0.0)) == 1
    assert not figures.health(empty, None).degraded


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=200))
def test_percentiles_are_numpys_and_in_order(values):
    metric = figures.distribution(values, "ms")
    assert metric.p50 == pytest.approx(np.percentile(values, 50))
    row = [
        metric.min,
        metric.p1,
        metric.p5,
        metric.p25,
        metric.p50,
        metric.p75,
        metric.p95,
        metric.p99,
        metric.p999,
        metric.max,
    ]
    assert row == sorted(row)
    assert metric.count == len(values)


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=200))
def test_a_histogram_loses_nobody(values):
    made = figures.histogram(np.asarray(values))
    assert sum(made.counts) == len(values)
    assert made.edges == sorted(made.edges)
    assert len(made.edges) == len(made.counts) + 1


@given(
    st.lists(
        st.tuples(st.floats(0, 20), st.floats(0, 2), st.floats(0.001, 3), st.floats(0, 5), st.booleans()),
        max_size=60,
    )
)
def test_a_timeline_loses_nobody(drawn):
    samples = []
    for due, wait, ttft, rest, fails in drawn:
        sample = answered(due, due + wait, due + wait + ttft, due + wait + ttft + rest)
        sample.error = "timeout" if fails else ""
        samples.append(sample)
    seconds = figures.timeline(record(*samples, ended=max((s.done for s in samples), default=1.0)), 0.0)
    assert sum(second.sent for second in seconds) == len(samples)
    assert sum(second.finished for second in seconds) == sum(sample.ok for sample in samples)
    assert sum(second.failed for second in seconds) == sum(not sample.ok for sample in samples)
    assert sum(second.output_tokens for second in seconds) == 2 * len(samples)
    assert min((second.in_flight for second in seconds), default=0) >= 0
    assert seconds[-1].in_flight == 0


def checks(step, *samples, **criteria):
    metrics = figures.metrics(record(*samples, step=step), Slo())
    found = judge(step, metrics, Criteria(**criteria), pace=figures.pace(samples), most_users=8)
    return {check.name: check.passed for check in found}, passed(found)


def test_a_good_step_passes_and_a_closed_loop_owes_no_throughput():
    verdicts, good = checks(USERS, answered(0.0, 0.0, 0.1, 0.15))
    assert verdicts == {
        "answers": True,
        "TTFT p95": True,
        "ITL p95": True,
        "errors": True,
        "throughput": None,
    }
    assert good


def test_waiting_to_be_sent_counts_against_the_ttft():
    verdicts, good = checks(USERS, answered(0.0, 5.0, 5.1))
    assert verdicts["TTFT p95"] is False
    assert not good


def test_streams_without_content_are_no_answers_and_no_good_ones():
    empty = Sample(due=0.0, sent=0.0, done=0.01)
    verdicts, good = checks(USERS, empty, empty)
    assert (verdicts["answers"], good) == (False, False)
    assert not Slo(ttft_ms=500).kept_by(empty)
    assert Slo(latency_ms=500).kept_by(empty)


def test_an_error_limit_of_0_allows_none_and_is_kept_by_none():
    assert checks(USERS, answered(0.0, 0.0, 0.1), errors=0.0)[0]["errors"] is True
    assert checks(USERS, answered(0.0, 0.0, 0.1), Sample(due=0, error="x"), errors=0.0)[0]["errors"] is False


def test_no_answer_at_all_never_passes():
    _, good = checks(USERS)
    assert not good


@pytest.mark.parametrize(("target", "kept"), [(None, None), (0.4, True), (0.8, False)])
def test_a_closed_loop_owes_its_part_of_the_target(target, kept):
    # One answer in ten seconds; two of eight users owe a quarter of the target, less a tenth.
    verdicts, _ = checks(USERS, answered(0.0, 0.0, 0.1), target_rps=target)
    assert verdicts["throughput"] is kept


OPEN = Open(name="", rate=2, arrivals=[], duration_s=30.0, max_in_flight=99)


def every_half_second(latency) -> list[Sample]:
    return [answered(at / 2, at / 2, at / 2 + latency(at / 2)) for at in range(60)]


@pytest.mark.parametrize(
    ("latency", "target", "kept"),
    [
        (
            lambda at: 10.0,
            None,
            True,
        ),  # slow and steady: whoever waits for the last answer sees three quarters
        (lambda at: 5.0 + at % 7, None, True),
        (lambda at: 1.0 + at * 0.2, None, False),  # ever later: 1.67 answers a second for 2 requests
        (lambda at: 1.0 + at * 0.2, 1.8, True),
    ],
)
def test_an_open_loop_owes_the_pace_at_which_it_was_asked(latency, target, kept):
    samples = every_half_second(latency)
    verdicts, _ = checks(OPEN, *samples, target_rps=target, ttft_p95_ms=None)
    assert verdicts["throughput"] is kept


def test_answers_that_failed_are_missing_from_the_pace():
    samples = every_half_second(lambda at: 1.0)
    for sample in samples[:20]:
        sample.error = "http_503"
    pace = figures.pace(samples)
    assert pace.answered / pace.offered == pytest.approx(2 / 3)


def test_too_few_requests_or_all_at_once_have_no_pace():
    for samples in (every_half_second(lambda at: 1.0)[:9], [answered(0.0, 0.0, 1.0)] * 50):
        verdicts, good = checks(OPEN, *samples)
        assert (verdicts["throughput"], good) == (None, True)


def test_a_request_that_hangs_to_its_timeout_does_not_slow_the_others():
    hangs = Sample(due=9.0, sent=9.0, done=129.0, error="timeout")
    found = figures.metrics(record(answered(0.0, 0.0, 1.0), hangs, ended=129.0), Slo())
    assert found["request_throughput"].avg == pytest.approx(1 / 10)


def test_an_answer_in_one_piece_shows_no_time_between_tokens():
    found = figures.metrics(record(answered(0.0, 0.0, 1.0, done=1.5, tokens=64)), Slo())
    assert not {"inter_token_latency", "time_per_output_token", "output_token_throughput_per_user"} & set(
        found
    )


def test_a_tester_without_cpu_or_late_by_much_says_so():
    busy = record(answered(0.0, 0.0, 0.1))
    busy.cpu_s = 9.9
    assert "used 99% of a core" in figures.health(busy, None).why
    late = record(answered(0.0, 0.0, 0.1))
    late.lags = [0.03] * 100
    ttft = figures.metrics(late, Slo())["time_to_first_token"]
    assert "late by 30 ms" in figures.health(late, ttft).why
