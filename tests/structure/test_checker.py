"""Every generated schema: valid answers pass, at their end and at each character; invalid ones fall where they have to."""

import itertools
import random

import pytest

from structure import schemas
from tidegate.structure.asked import Shape
from tidegate.structure.checker import checker_of

SEEDS = range(420)


def check(schema):
    return checker_of(Shape("json_schema", schema=schema, field="response_format"))


def stopped_at(checker, text, rng=None):
    """Return the index of the character, or of the event, that stops an answer, and None if none does."""
    prefix = checker.begin()
    at, event = 0, 0
    while at < len(text):
        size = rng.randint(1, 9) if rng else 1
        if not prefix.feed(text[at : at + size]):
            return at, at + size
        at += size
        event += 1
    return None


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_of_a_schema(seed):
    made = schemas.schema(seed)
    checker = check(made.schema)
    rng = random.Random(seed)
    for _ in range(2):
        good = made.valid(rng)
        assert checker.errors(good.text) == "", good.text
        assert stopped_at(checker, good.text) is None, good.text
        assert stopped_at(checker, good.text, rng) is None, good.text
    for _ in range(5):
        bad, was = made.invalid(rng)
        assert checker.errors(bad.text), (bad, made.schema)
        stopped = stopped_at(checker, bad.text)
        common = _common(bad.text, was)
        assert stopped is None or stopped[0] >= common, (bad, was, made.schema)
        if not checker.unsupported and bad.dead_at < len(bad.text):
            assert stopped is not None, (bad, made.schema)
            assert stopped[0] <= bad.dead_at, (bad, made.schema)
            event = stopped_at(checker, bad.text, rng)
            assert event is not None
            assert event[0] <= bad.dead_at, (bad, made.schema)


def _common(one, other):
    """Return how many characters two texts have in common at their beginnings."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"b": [{"a": 1, "\\u0061": 1}]}', '{"": 1, "": 1}'])
def test_a_key_that_comes_twice_is_wrong(text):
    checker = check({"type": "object"})
    assert "twice" in checker.errors(text)
    assert stopped_at(checker, text)[0] == text.rindex('"')
