"""When requests are due."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.ops.load.plan import BadTrace, arrivals, read_trace


def gaps(found) -> np.ndarray:
    return np.diff([0.0, *(arrival.at_s for arrival in found)])


def test_constant_arrivals_are_evenly_spaced():
    assert gaps(arrivals(4, 2.0, process="constant")) == pytest.approx([0.25] * 8)


@pytest.mark.parametrize(
    ("process", "burstiness", "cv"), [("poisson", 1.0, 1.0), ("gamma", 0.25, 2.0), ("gamma", 4.0, 0.5)]
)
def test_random_arrivals_keep_the_rate_and_are_as_uneven_as_asked(process, burstiness, cv):
    found = gaps(arrivals(100, 400.0, process=process, burstiness=burstiness, seed=7))
    assert 1 / found.mean() == pytest.approx(100, rel=0.03)
    assert found.std() / found.mean() == pytest.approx(cv, rel=0.05)


@given(
    st.floats(0.5, 500),
    st.floats(0.1, 20),
    st.sampled_from(["constant", "poisson", "gamma"]),
    st.integers(0, 99),
)
def test_arrivals_are_in_order_within_the_duration_and_repeatable(rate, duration, process, seed):
    def made():
        drawn = arrivals(rate, duration, process=process, burstiness=0.5, seed=seed)
        return [arrival.at_s for arrival in itertools.islice(drawn, 300)]

    found = made()
    assert found == sorted(found)
    assert all(0 < at <= duration for at in found)
    assert found == made()


def test_a_trace_of_azure_is_replayed_from_its_first_request(tmp_path: Path):
    trace = tmp_path / "trace.csv"
    trace.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,374,44\n"
        "2023-11-16 18:15:50.9951690,396,109\n"
    )
    first, second = read_trace(trace, speed=2.0)
    assert (first.at_s, first.prompt_tokens, first.output_tokens) == (0.0, 374, 44)
    assert second.at_s == pytest.approx((50.995169 - 46.680590) / 2)


def test_a_trace_in_json_lines_carries_its_shared_blocks(tmp_path: Path):
    trace = tmp_path / "trace.jsonl"
    trace.write_text(
        '{"timestamp": 3000, "input_length": 9, "output_length": 2}\n'
        '{"timestamp": 1000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}\n'
    )
    first, second = read_trace(trace)
    assert (first.at_s, first.prompt_tokens, first.blocks) == (0.0, 6758, (0, 1, 2))
    assert (second.at_s, second.output_tokens) == (2.0, 2)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16,1\n", "line 2"),
        ("a.csv", "when,what\n1,2\n", "TIMESTAMP,ContextTokens,GeneratedTokens"),
        ("a.csv", "", "no requests"),
        ("a.jsonl", '{"timestamp": 1, "input_length": 1, "output_length": 1}\n{"timestamp": 1}\n', "line 2"),
        ("a.jsonl", "\xff\xfe", "line 1"),
    ],
)
def test_a_bad_trace_is_named_with_its_line(tmp_path: Path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadTrace, match=says):
        read_trace(tmp_path / name)


def test_a_missing_trace_is_named(tmp_path: Path):
    with pytest.raises(BadTrace, match=r"nowhere\.csv cannot be read"):
        read_trace(tmp_path / "nowhere.csv")


def test_stamps_without_a_zone_know_no_daylight_saving(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    trace = tmp_path / "trace.csv"
    rows = "2023-11-05 01:30:00,1,1\n2023-11-05 02:30:00,1,1\n"  # clocks went back an hour between these
    trace.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}")
    try:
        assert [row.at_s for row in read_trace(trace)] == [0.0, 3600.0]
    finally:
        monkeypatch.undo()
        time.tzset()
