"""The parts of a schema's check against plain definitions of what they mean."""

import itertools
import json
import pathlib
import random
import re
from fractions import Fraction

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.structure.asked import Shape
from tidegate.structure.checker import checker_of
from tidegate.structure.schema.numbers import BEGINNING, Range, reaches
from tidegate.structure.schema.patterns import automaton, regular

SHORT = [
    f"{sign}{whole}{part}{power}"
    for sign in ("", "-")
    for whole in ("0", "1", "2", "9", "10", "12", "20", "99", "120", "125")
    for part in ("", ".0", ".5", ".25", ".05")
    for power in ("", "e0", "e1", "e-1", "e2", "e-2", "e01", "e+1")
]
VALUES = [(text, Fraction(text)) for text in SHORT]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(-30, 30).map(lambda i: Fraction(i, 4)) | st.none(),
    st.integers(0, 40).map(lambda i: Fraction(i, 4)) | st.none(),
    st.sampled_from([None, Fraction(1), Fraction(3), Fraction(1, 2)]),
    st.booleans(),
    st.booleans(),
)
def test_a_beginning_of_a_number_of_the_range_is_never_stopped(low, width, step, above, below):
    high = None if width is None else (low or Fraction(0)) + width
    numbers = Range(low, high, step, above, below)
    for text, value in VALUES:
        inside = (
            (low is None or low < value or (low == value and not above))
            and (high is None or value < high or (value == high and not below))
            and (step is None or value % step == 0)
        )
        if inside:
            for end in range(1, len(text) + 1):
                assert reaches(text[:end], numbers), (text, end)


@pytest.mark.parametrize(
    ("beginning", "low", "high", "step", "alive"),
    [
        ("-", 1, None, None, False),
        ("-", 0, None, None, True),  # -0
        ("2", 3, 19, 1, False),
        ("2", 3, 20, 1, True),
        ("1", 3, 20, 1, True),
        ("4", 3, 20, 1, True),
        ("21", 3, 20, 1, False),
        ("1.5", 3, 20, 1, True),  # 15
        ("1.55", 3, 20, 1, False),
        ("2e", 3, 300, 1, True),
        ("2e-", 3, 300, 1, False),
        ("2e1", 3, 300, 1, True),
        ("2e3", 3, 300, 1, False),
        ("7e0", 3, 6, None, False),
        ("0", 1, 5, 1, True),  # 0.1e1
        ("0e", 1, 5, 1, False),
    ],
)
def test_a_number_is_stopped_where_no_number_of_the_range_follows(beginning, low, high, step, alive):
    bounds = (None if one is None else Fraction(one) for one in (low, high, step))
    assert BEGINNING.fullmatch(beginning)
    assert reaches(beginning, Range(*bounds)) is alive


PATTERNS = [
    r"^\d$", r"^\D$", r"^\w$", r"^\W$", r"^\s$", r"^\S$", r"^[\d]$", r"^[^\w]$", r"^[\s-]$", r"^.$", r"^[^a]$", r"^[a-f-]$",
    r"^\x41$", r"^\u00e9$", r"^\.$", r"^[.\]]$", r"^\/$", r"^\n$", r"^\t|\v$", "^é$", '^"$', "^ $", "^/$",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_means_the_same_on_the_way_as_at_the_end(pattern):
    validator = jsonschema_rs.validator_for(
        {"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions()
    )
    matcher = automaton([regular(pattern)], 0, None)
    chars = [
        chr(i)
        for i in (*range(0x300), *range(0x1FF0, 0x2070), 0x1680, 0x3000, 0xFEFF, 0x65E5, 0x1F600, 0xFFFF)
    ]
    for char in chars:
        copy = matcher.deep_copy()
        encoded = list(char.encode())
        accepted = copy.try_consume_tokens(encoded) == len(encoded) and copy.is_accepting()
        assert accepted is validator.is_valid(char), (pattern, char)


_ATOMS = [
    "a",
    "b",
    "[ab]",
    "(a|b)",
    "(?:ab)",
    ".",
    "\\w",
    "a|",
    "^",
    "$",
    "(",
    ")",
    "*",
    "+?",
    "{2}",
    "{1,2}",
    "?",
    "\\b",
    "[^a]",
    "-",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(_ATOMS), max_size=7).map("".join))
def test_any_pattern_that_is_translated_means_the_same(pattern):
    expression = regular(pattern)
    if not expression:
        return
    try:
        re.compile(pattern)
        validator = jsonschema_rs.validator_for(
            {"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (re.error, ValueError):
        return
    matcher = automaton([expression], 0, None)
    for size in range(4):
        for chars in itertools.product("ab-", repeat=size):
            text = "".join(chars)
            copy = matcher.deep_copy()
            accepted = copy.try_consume_tokens(list(text.encode())) == size and copy.is_accepting()
            assert accepted is validator.is_valid(text), (pattern, expression, text)


# Every value of these finite schemas can be listed, so that each beginning can be judged by looking for a value.
FINITE = json.loads((pathlib.Path(__file__).parent / "finite.json").read_text())
ALPHABET = '{}[]":,abct12xn0'


@pytest.mark.parametrize("schema", FINITE)
def test_a_beginning_is_alive_exactly_if_a_valid_answer_follows(schema):
    """The oracle is the validator on all the values that these schemas can have, in every order of their keys."""
    checker = checker_of(Shape("json_schema", schema=schema))
    texts = {
        text for value in _candidates() if jsonschema_rs.is_valid(schema, value) for text in _compact(value)
    }
    assert texts
    beginnings = {text[:end] for text in texts for end in range(len(text) + 1)}
    for text in beginnings:
        assert text == "" or checker.begin().feed(text), text
    assert not checker.unsupported
    for text in beginnings:
        for char in random.Random(text).sample(ALPHABET, 8):
            if text + char not in beginnings and not _is_other_spelling(text + char):
                assert not checker.begin().feed(text + char), text + char


def _candidates():
    scalars = [1, 2, 3, 4, 12, 0, True, None, "a", "ab", "x", "t"]
    yield from scalars
    yield from ({}, [], [[1]])
    for one in scalars:
        yield [one]
        yield from ([one, other] for other in scalars)
    for size in (1, 2, 3):
        for keys in itertools.combinations("abc", size):
            for values in itertools.product([1, 2, 3, "x"], repeat=size):
                yield dict(zip(keys, values, strict=True))


def _compact(value):
    if isinstance(value, dict):
        for order in itertools.permutations(value.items()):
            yield json.dumps(dict(order), separators=(",", ":"))
    else:
        yield json.dumps(value, separators=(",", ":"))


def _is_other_spelling(text):
    """A number may be spelled with more digits than it needs: 0.1e1 is 1."""
    return bool(re.search(r"(?<![\"\w])-?\d+$", text))
