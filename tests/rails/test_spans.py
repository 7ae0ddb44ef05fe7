import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamed import CARDS, FINDERS, PEM, Views, folded, split_texts

from tidegate.kernel.matching import Pattern
from tidegate.rails.finders import as_it_is, by_patterns, growing
from tidegate.rails.streams.spans import SpanScanner, spans_of, united
from tidegate.types import Span


def scan(scanner, events):
    """Every span that is told, with the checks that hold for each scan."""
    found, clear, arrived = [], 0, 0
    for event in events:
        arrived += len(event)
        one = scanner.feed(event)
        assert clear <= one.clear <= arrived
        assert all(clear <= span.start and span.end <= one.clear for span in one.found)
        found += one.found
        clear = one.clear
    one = scanner.feed("", last=True)
    assert one.clear == arrived
    return united([*found, *one.found])


@given(finder=st.sampled_from(FINDERS), events=split_texts())
def test_a_stream_has_the_spans_of_its_whole_text(finder, events):
    text = "".join(events)
    assert scan(SpanScanner(finder, folded), events) == list(united(spans_of(finder, Views(text))))


@given(events=split_texts())
def test_spans_of_patterns_are_those_of_one_search(events):
    text = "".join(events)
    plain = list(scan(SpanScanner(CARDS, as_it_is), events))
    assert plain == list(CARDS.find(text, 0))


def test_text_that_no_match_can_begin_with_is_clear_at_once():
    scanner = SpanScanner(CARDS, as_it_is)
    assert scanner.feed("hello").clear == 5
    assert scanner.feed(" 12").clear == 6
    assert scanner.feed("a").clear == 9


def test_a_match_at_the_end_waits():
    scanner = SpanScanner(CARDS, as_it_is)
    assert scanner.feed("a 1234 5678") == (2, (), False)
    assert scanner.feed(".") == (12, (Span(2, 11, "CARD"),), False)


LONG = by_patterns([Pattern("LONG", r"a\d+b?")], max_chars=10)
OPEN = by_patterns([Pattern("OPEN", r"a\d*b")], max_chars=10)


def test_a_match_that_is_too_long_is_reported():
    scanner = SpanScanner(LONG, as_it_is)
    scan = scanner.feed("x a12345678")
    assert (scan.clear, scan.too_long) == (2, False)
    scan = scanner.feed("90")
    assert (scan.clear, scan.found, scan.too_long) == (2, (), True)
    assert scanner.feed("b ", last=True).too_long


def test_text_that_only_begins_like_a_match_is_let_go_and_watched():
    scanner = SpanScanner(OPEN, as_it_is)
    assert scanner.feed("x a1234567890").clear == 13
    assert not scanner.feed("1").too_long
    assert scanner.feed("b").too_long


def test_invisible_characters_are_not_held_without_end():
    scanner = SpanScanner(CARDS, folded)
    scan = scanner.feed("1" + "\u200b" * 5000)
    assert scan.clear == 0
    assert scan.too_long


@given(inside=split_texts(), after=split_texts())
def test_a_private_key_is_swallowed_as_it_arrives(inside, after):
    inside = ["".join(inside).replace("-", "")] if "-" in "".join(inside) else inside
    scanner = SpanScanner(PEM, as_it_is)
    begin = "a -----BEGIN RSA KEY-----"
    assert scanner.feed(begin).clear == 2
    length = len(begin)
    for event in ["\n", *inside]:
        length += len(event)
        assert scanner.feed(event).clear == length
    found = [span for event in "-----END RSA KEY----- " for span in scanner.feed(event).found]
    assert {span.goes_on for span in found} == {True}
    assert found[-1].end == length + len("-----END RSA KEY-----")


def test_a_private_key_without_an_end_is_swallowed_to_the_end_of_the_stream():
    text = "a -----BEGIN RSA KEY-----\nabc"
    assert list(united(spans_of(PEM, Views(text)))) == [Span(2, len(text), "PEM")]


def test_a_finder_of_ones_own_says_what_may_grow_by_simple_patterns():
    phones = growing(r"\+?[0-9 ]{1,24}", max_chars=24)
    assert phones.first("call +49 30", 0) == 5
    assert phones.first("call me", 0) == 7


@pytest.mark.parametrize("last", [False, True])
def test_overlapping_spans_are_one_of_the_best_kind(last):
    both = [Span(0, 4, "A", 0.5), Span(2, 6, "B", 0.9), Span(6, 7, "C")]
    assert united(both[:: -1 if last else 1]) == [Span(0, 6, "B", 0.9), Span(6, 7, "C")]


def test_marks_that_compose_with_nothing_stay_with_the_last_character():
    events = ["1234 5678", "\u0301", "\u0301", " "]
    assert scan(SpanScanner(CARDS, folded), events) == [Span(0, 11, "CARD")]
