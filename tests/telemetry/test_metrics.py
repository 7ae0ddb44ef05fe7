"""What is counted is what happened, in Prometheus' own format."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from records import a_call

from tidegate.engines.openai import read_answer
from tidegate.telemetry.metrics import OVERHEAD, Histogram, Metrics
from tidegate.types import Usage


def samples(metrics: Metrics) -> dict[str, float]:
    """Name and labels to value."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """One sample of the only call's series."""
    every = {"endpoint": "chat/completions", "model": "gpt-*", "engine": "(none)"} | labels
    return samples(metrics)[f"tidegate_{name}{sorted(every.items())}"]


def test_a_stream_is_measured_by_the_definitions() -> None:
    metrics = Metrics()
    metrics.finished(a_call())
    assert value(metrics, "requests_total", outcome="ok") == 1
    assert round(value(metrics, "ttft_seconds_sum"), 6) == 0.06
    assert round(value(metrics, "itl_seconds_sum"), 6) == 0.01
    assert round(value(metrics, "overhead_seconds_sum"), 6) == 0.0012
    assert round(value(metrics, "duration_seconds_sum"), 6) == 0.2
    assert value(metrics, "tokens_total", kind="cached", engine="gpu") == 5


def test_an_answer_without_an_engine_is_all_overhead() -> None:
    metrics = Metrics()
    metrics.finished(a_call(spent=()))
    assert round(value(metrics, "overhead_seconds_sum"), 6) == 0.0512


def test_waiting_for_a_slot_is_not_overhead() -> None:
    metrics = Metrics()
    metrics.finished(a_call(waited_s=0.0008))
    assert round(value(metrics, "overhead_seconds_sum"), 6) == 0.0004
    assert value(metrics, "overhead_seconds_bucket", le="0.0005") == 1


def test_labels_come_from_the_config_never_from_the_client() -> None:
    metrics = Metrics()
    metrics.finished(a_call())
    assert "gpt-4o" not in metrics.render().decode()


@given(st.lists(st.floats(0, 10)))
def test_buckets_are_cumulative_and_complete(values: list[float]) -> None:
    histogram = Histogram(OVERHEAD)
    for one in values:
        histogram.observe(one)
    rows = histogram.buckets()
    assert rows[-1] == ("+Inf", len(values))
    for bound, count in rows[:-1]:
        assert count == sum(one <= float(bound) for one in values)


def test_no_engine_can_make_a_counter_fall() -> None:
    counts = b'{"prompt_tokens":-5,"completion_tokens":-1.0,"prompt_tokens_details":{"cached_tokens":-2}}'
    assert read_answer(b'{"choices":[],"usage":%b}' % counts).read_usage() == Usage()
