"""Patterns are sets: membership and intersection agree with the plain meaning of each pattern, whatever the names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.kernel.patterns import Patterns

NAMES = st.text("ab*", max_size=4)
PATTERNS = st.lists(st.builds(str.__add__, st.text("ab", max_size=3), st.sampled_from(["", "*"])), max_size=4)


def has(patterns: list[str], name: str) -> bool:
    return any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in patterns)


@given(PATTERNS, NAMES)
def test_a_name_is_in_the_set_if_a_pattern_has_it(patterns: list[str], name: str) -> None:
    patterns = [one for one in patterns if one]
    assert (name in Patterns(patterns)) == has(patterns, name)


@given(PATTERNS, PATTERNS, NAMES)
def test_an_intersection_has_what_both_have(one: list[str], other: list[str], name: str) -> None:
    one, other = [p for p in one if p], [p for p in other if p]
    assert (name in (Patterns(one) & Patterns(other))) == (has(one, name) and has(other, name))


@pytest.mark.parametrize(
    ("patterns", "listed"),
    [
        (["*"], ("*",)),
        (["*", "gpt-*", "small"], ("*",)),
        (["gpt-4*", "gpt-*", "gpt-4o"], ("gpt-*",)),
        (["b", "a"], ("a", "b")),
        (["a", "a*"], ("a*",)),
        ([], ()),
    ],
)
def test_a_set_is_listed_without_what_another_pattern_covers(
    patterns: list[str], listed: tuple[str, ...]
) -> None:
    assert Patterns(patterns).listed == listed
