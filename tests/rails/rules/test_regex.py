"""The rail `regex`: patterns of the operator on RE2."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rails.found import SCENE, kinds, streamed, whole

from tidegate.kernel.text import Views
from tidegate.rails.rules.regex import Regex, RegexConfig


def rail(patterns: dict[str, str], **settings: Any) -> Regex:
    return Regex(RegexConfig(patterns=patterns, **settings))


def test_patterns_are_found_by_name():
    tickets = rail({"TICKET": r"\bT-\d{4}\b", "BUILD": r"\bbuild\d+"})
    text = "See T-1234 and build77."
    assert kinds(tickets, text) == [("T-1234", "TICKET"), ("build77", "BUILD")]
    assert tickets.check(Views(text), SCENE).category == "TICKET"


@pytest.mark.parametrize("source", [r"(?=x)", r"(a)\1", "(", "[z-a]", r"(?<!x)y"])
def test_what_re2_refuses_is_named_with_the_reason(source: str):
    with pytest.raises(ValidationError, match=r"pattern 'mine' is not one of RE2's: \S+"):
        rail({"mine": source})


def test_a_pattern_that_matches_nothing_at_all_is_refused():
    with pytest.raises(ValidationError, match="pattern 'mine' matches the empty text"):
        rail({"mine": "x*"})


def test_letters_that_folding_changes_are_refused_with_the_fix():
    with pytest.raises(
        ValidationError, match="has 'é', which is 'e' in a folded text: write that, or set `folded: false`"
    ):
        rail({"mine": "café"})
    assert kinds(rail({"mine": "café"}, folded=False), "ein café!") == [("café", "mine")]


def test_a_folded_text_is_searched_unless_it_should_not_be():
    text = "T\u200b-1234"
    assert kinds(rail({"T": r"T-\d+"}), text) == [(text, "T")]
    assert kinds(rail({"T": r"T-\d+"}, folded=False), text) == []


def test_decoded_texts_are_searched():
    assert not rail({"T": r"T-\d+"}).check(Views("VGlja2V0IFQtMTIzNCBpcyBvcGVu"), SCENE).passed


def test_no_pattern_hangs():
    assert rail({"mine": "(a+)+$"}).check(Views("a" * 4000 + "b"), SCENE).passed


def test_a_longer_match_than_may_be_held_back_stops_the_stream():
    numbers = rail({"N": r"<\d+>"}, max_match_chars=16)
    scanner = numbers.scanner()
    scanner.feed("<123")
    assert not scanner.feed("4567").too_long
    assert numbers.about.hold == ("span", 16)
    scan = rail({"N": r"x\d+x"}, max_match_chars=16).scanner().feed("x" + "1" * 40 + "x", last=True)
    assert scan.too_long or scan.found


@given(st.lists(st.sampled_from(["T-", "12", "34", " ", "é", "\u200b", "T", "-"]), max_size=12))
def test_streams_and_whole_texts_are_judged_alike(events: list[str]):
    tickets = rail({"TICKET": r"\bT-\d{4}\b"})
    assert streamed(tickets, events)[0] == whole(tickets, "".join(events))
