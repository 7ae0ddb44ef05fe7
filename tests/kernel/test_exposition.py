"""Metrics as servers tell them: labels, escapes and timestamps are read, what is no such text is told."""

from __future__ import annotations

import math
from contextlib import suppress
from string import ascii_letters

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from tidegate.kernel.exposition import MAX_LINE, MAX_SAMPLES, NotExposition, Sample, known, read

NAMES = st.text(ascii_letters + "_", min_size=1, max_size=8).filter(lambda name: not name.startswith("__"))
LABELS = st.dictionaries(NAMES, st.text(st.characters(codec="utf-8"), max_size=20), min_size=1, max_size=3)


def values(text: str, *names: str) -> list[tuple[str, dict[str, str], float]]:
    return [(sample.name, sample.labels, sample.value) for sample in read(text, names)]


def test_only_the_names_asked_for_and_no_comments() -> None:
    text = '# HELP a what it is\n# TYPE a gauge\na 1\n\n  a_total 2\nb{x="y"} 3\r\n'
    assert values(text, "a", "b") == [("a", {}, 1), ("b", {"x": "y"}, 3)]


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        ('a{x="1",y="2",} 3', {"x": "1", "y": "2"}, 3),
        ('a{ x = "1" , y="2" } 3', {"x": "1", "y": "2"}, 3),
        (r'a{x="q\"b\\n\n\d}"} 3', {"x": 'q"b\\n\n\\d}'}, 3),
        ("a{} 3", {}, 3),
        ("a\t3 1700000000000", {}, 3),
        ('a 3 1700000000.25 # {trace="x"} 0.5', {}, 3),
        ("a 1.5e-3", {}, 0.0015),
        ("a +Inf", {}, math.inf),
        ("a -inf", {}, -math.inf),
        ("a .5", {}, 0.5),
    ],
)
def test_a_line(line: str, labels: dict[str, str], value: float) -> None:
    assert list(read(line, {"a"})) == [Sample("a", labels, value)]


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a ",
        "a one",
        "a 1_000",
        "a 0x10",
        "a 1 2 3",
        "a 1 soon",
        'a{x="1" 3',
        "a{x=1} 3",
        'a{x="1"y="2"} 3',
        'a{x="1} 3',
        "a<br> 1",
        'a{x="' + "y" * MAX_LINE + '"} 1',
        "a 1\n" * (MAX_SAMPLES + 1),
    ],
)
def test_a_line_that_cannot_be_read_is_told(line: str) -> None:
    with pytest.raises(NotExposition) as raised:
        list(read(f"b 1\n{line}\n", {"a"}))
    told = str(raised.value)
    assert repr(line.strip())[:10] in told if len(line) < 80 else "lines of these metrics" in told


@pytest.mark.parametrize("text", ["<html>", '\n{"loads": []}', "1 2"])
def test_what_does_not_begin_as_metrics_is_something_else(text: str) -> None:
    with pytest.raises(NotExposition, match="not a line of metrics"):
        list(read(text, {"a"}))


def test_a_strange_line_of_another_metric_hides_none_that_is_wanted() -> None:
    assert values("a 1\nb{x=1\n???\na 2 ", "a") == [("a", {}, 1), ("a", {}, 2)]


@given(labels=LABELS, value=st.floats())
def test_what_prometheus_client_writes_is_read_as_it_was_meant(labels: dict[str, str], value: float) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("a", "meaning\nof it", list(labels), registry=registry)
    gauge.labels(**labels).set(value)
    (sample,) = read(generate_latest(registry).decode(), {"a"})
    assert sample.labels == labels
    assert sample.value == value or (math.isnan(sample.value) and math.isnan(value))
    assert known(iter([sample.value])) == ([value] if math.isfinite(value) else [])


@given(
    st.text()
    | st.lists(st.sampled_from(["a", "{", "}", '"', "\\", "=", ",", " ", "1", "\n", "#"])).map("".join)
)
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    with suppress(NotExposition):
        for sample in read(text, {"a", "b"}):
            assert sample.name in {"a", "b"}
