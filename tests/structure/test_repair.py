"""Repair: what has one reading is mended, what has more or none is not, and what is valid stays as it is."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structure import schemas
from tidegate.structure.asked import Shape
from tidegate.structure.checker import checker_of
from tidegate.structure.repair import repaired

CITY = checker_of(
    Shape(
        "json_schema",
        schema={
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "sizes": {"type": "array", "items": {"type": "integer"}},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    )
)
YES = checker_of(Shape("choice", choices=("yes", "no")))


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ('```json\n{"city": "Rom"}\n```', '{"city": "Rom"}'),
        ('```\n{"city": "Rom"}```', '{"city": "Rom"}'),
        ('Here you are:\n```json\n{"city": "Rom"}\n```\nAnything else?', '{"city": "Rom"}'),
        ('Sure! {"city": "Rom"} Anything else?', '{"city": "Rom"}'),
        ('As in [1]: {"city": "a } b"}', '{"city": "a } b"}'),
        ('{"city": "Rom",}', '{"city": "Rom"}'),
        ('{"city": "a,}", "sizes": [1, 2, ],}', '{"city": "a,}", "sizes": [1, 2 ]}'),
        ('{"city": "Rom"', '{"city": "Rom"}'),
        ('{"city": "Rom", "sizes": [1, 2]', '{"city": "Rom", "sizes": [1, 2]}'),
        ('```json\n{"city": "Rom", "sizes": []\n```', '{"city": "Rom", "sizes": []}'),
        ("{'city': 'Rom'}", '{"city": "Rom"}'),
        ("{'city': 'Rom', 'sizes': [1,],}", '{"city": "Rom", "sizes": [1]}'),
        ("{'city': 'it's'}", None),
        ("{'city': 'the \"old\" one'}", None),
        ('{"city": "Ro', None),
        ('{"city": "Rom", "sizes": [1, 2', None),
        ('{"city": "Rom"} or {"city": "Bonn"}', None),
        ('{"city": "Rom"} means {"city": "Rom"}', '{"city": "Rom"}'),
        ('{"city": 5}', None),
        ("no JSON at all", None),
        ("", None),
    ],
)
def test_an_answer_with_a_schema(text, mended):
    assert repaired(text, CITY) == mended


@pytest.mark.parametrize(
    ("text", "mended"),
    [(" yes\n", "yes"), ('"no"', "no"), ("```\nyes\n```", "yes"), ("yes, no", None), ("maybe", None)],
)
def test_a_choice(text, mended):
    assert repaired(text, YES) == mended


@pytest.mark.parametrize("seed", range(0, 420, 7))
def test_a_valid_answer_stays_as_it_is(seed):
    made = schemas.schema(seed)
    checker = checker_of(Shape("json_schema", schema=made.schema))
    text = made.valid(random.Random(seed)).text
    assert repaired(text, checker) == text
    dressed = repaired(f"```json\n{text}\n```", checker)
    assert dressed == text.strip()


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="{}[]\"'`,:\\ \n1acity", max_size=60))
def test_what_comes_out_is_valid(text):
    for checker in (CITY, YES):
        mended = repaired(text, checker)
        assert mended is None or checker.errors(mended) == ""


def test_a_long_text_of_brackets_takes_no_time_to_speak_of():
    assert repaired("[{" * 50_000 + "'" * 1000, CITY) is None
