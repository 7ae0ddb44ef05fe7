"""JSON inside of JSON: every text in it is seen as its reader sees it, and a change touches nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.forms import Leaf, leaves, with_leaves
from tidegate.forms.paths import MAX_DEPTH, Key

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def strings_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in [key, *strings_of(item)] if text]
    if isinstance(value, list):
        return [text for item in value for text in strings_of(item)]
    return [value] if isinstance(value, str) and value else []


@given(JSON, st.booleans())
@example({"a": {"a": "a"}, "b.c": ["a"]}, True)
def test_no_string_is_missed_however_it_is_written(value: Any, escaped: bool) -> None:
    found = leaves(json.dumps(value, ensure_ascii=escaped))
    assert sorted(leaf.value for leaf in found) == sorted(strings_of(value))
    assert len({leaf.path for leaf in found}) == len(found)


def changed_by_hand(value: Any) -> Any:
    """The value with every text doubled; keys stay different, since doubling keeps them apart."""
    if isinstance(value, dict):
        return {key * 2: changed_by_hand(item) for key, item in value.items()}
    if isinstance(value, list):
        return [changed_by_hand(item) for item in value]
    return value * 2 if isinstance(value, str) else value


@given(JSON)
def test_every_text_can_be_changed_and_nothing_else_is(value: Any) -> None:
    text = json.dumps(value)
    changed = {leaf.path: leaf.value * 2 for leaf in leaves(text)}
    assert json.loads(with_leaves(text, changed)) == changed_by_hand(value)
    assert with_leaves(text, {}) == text


def test_escapes_are_seen_decoded() -> None:
    text = r'{"\u0061": "\u0062\ud83c\udf0a", "n": 1.0, "x": 1E+2, "half": "\ud83c"}'
    assert leaves(text)[:3] == [Leaf((Key("a"),), "a"), Leaf((Key("n"),), "n"), Leaf((Key("x"),), "x")]
    assert Leaf(("a",), "b🌊") in leaves(text)
    assert Leaf(("half",), "\ufffd") in leaves(text)
    assert with_leaves(text, {("a",): "c"}) == '{"a":"c","n":1.0,"x":1E+2,"half":"\\ufffd"}'


@pytest.mark.parametrize("text", ["", "{", "plain words", '{"a": "b"} c', "{'a': 'b'}", "[" * 100_000])
def test_what_is_not_json_is_one_leaf(text: str) -> None:
    assert leaves(text) == [Leaf((), text)]
    assert with_leaves(text, {(): "new"}) == "new"


def test_a_string_alone_is_json() -> None:
    assert leaves('"\\u0061"') == [Leaf((), "a")]
    assert with_leaves('"\\u0061"', {(): "b"}) == '"b"'


def test_a_long_number_may_be_a_card() -> None:
    text = '{"card": 4111111111111111, "n": 42, "huge": 1e20}'
    assert Leaf(("card",), "4111111111111111") in leaves(text)
    assert len(leaves(text)) == 4
    assert with_leaves(text, {("card",): "<CARD>"}) == '{"card":"<CARD>","n":42,"huge":1e20}'


def test_a_key_that_is_repeated_hides_nothing() -> None:
    text = '{"a": "plant", "a": "b"}'
    assert leaves(text)[-1] == Leaf((), text)
    assert with_leaves(text, {(): "x"}) == "x"
    assert with_leaves(text, {("a",): "c"}) == '{"a":"c"}'


def test_two_names_with_one_mask_stay_two() -> None:
    masked = with_leaves('{"a":1,"b":2,"<M>":3}', {(Key("a"),): "<M>", (Key("b"),): "<M>"})
    assert json.loads(masked) == {"<M>": 3, "<M> 2": 1, "<M> 3": 2}


def test_a_text_deep_inside_goes_with_what_is_around_it() -> None:
    depth = MAX_DEPTH + 50
    text = "[" * depth + '"plant"' + "]" * depth
    (leaf,) = leaves(text)
    assert leaf.value == "plant"
    assert json.loads(with_leaves(text, {leaf.path: "x"})) == json.loads(
        "[" * MAX_DEPTH + '"x"' + "]" * MAX_DEPTH
    )
