"""The rail `bloat`: texts that fill the context are objected to, by the limit that they break."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rails.found import SCENE

from tidegate.kernel.text import Views, slices
from tidegate.rails.rules.bloat import Bloat, BloatConfig
from tidegate.types import Verdict

RANDOM = random.Random(14)
WORDS = [
    "".join(RANDOM.choices("etaoinshrdlcumwfgypbvk", k=RANDOM.choice([2, 3, 4, 5, 6, 7, 9])))
    for _ in range(600)
]


def prose(words: int) -> str:
    """A text of common and rare words, as texts have them."""
    return " ".join(WORDS[min(int(RANDOM.expovariate(1 / 90)), 599)] for _ in range(words))


PROSE = prose(6000)
USUAL = {
    "prose": PROSE,
    "short repetition": "ha " * 200,
    "a table": "\n".join(f"| {at} | {WORDS[at % 600]} | {at * 7919 % 1000} | open |" for at in range(400)),
    "a log": "\n".join(
        f"2026-11-29 10:{at // 60:02}:{at % 60:02} INFO request {at * 7919} took {at * 31 % 997} ms"
        for at in range(500)
    ),
    "json": json.dumps([{"id": at, "name": WORDS[at], "open": at % 3 == 0} for at in range(300)], indent=2),
    "chinese": "".join(chr(0x4E00 + min(int(RANDOM.expovariate(1 / 300)), 20000)) for _ in range(3000)),
    "a question about a quoted answer": f"{PROSE[:3000]}\n\n{PROSE[:3000]}\n\nWhat is wrong with it?",
}
BLOATED = {
    "too_long": PROSE * 8,
    "says_little": "hello " * 1000,
    "repeated_lines": "\n".join(PROSE[at * 80 : at * 80 + 79] for _ in range(5) for at in range(60)),
    "repeated_words": " ".join([*[PROSE[:5000].replace("\n", " ")] * 5]),
    "random": base64.b64encode(RANDOM.randbytes(6000)).decode(),
}


def rail(**settings: Any) -> Bloat:
    return Bloat(BloatConfig(**settings))


def check(one: Bloat, text: str) -> Verdict:
    return one.check(Views(text), SCENE)


def in_parts(one: Bloat, text: str) -> Verdict:
    reader = one.reader(SCENE)
    for _, part in slices(text, overlap=0):
        reader.feed(part)
    return reader.verdict()


@pytest.mark.parametrize("name", USUAL)
def test_usual_texts_pass(name: str):
    assert check(rail(), USUAL[name]).passed
    assert in_parts(rail(), USUAL[name]).passed


@pytest.mark.parametrize("category", BLOATED)
def test_each_limit_is_kept(category: str):
    for verdict in (check(rail(), BLOATED[category]), in_parts(rail(), BLOATED[category])):
        assert verdict.category == category


LIMITS = {
    "too_long": "max_chars",
    "says_little": "min_bits",
    "repeated_lines": "max_repeated_lines",
    "repeated_words": "max_repeated_words",
    "random": "max_bits",
}


@pytest.mark.parametrize("category", BLOATED)
def test_the_reason_names_the_limit_and_its_setting_takes_it_away(category: str):
    limit = LIMITS[category]
    assert f"`{limit}`" in check(rail(), BLOATED[category]).reason
    without = dict.fromkeys(LIMITS.values(), None)
    assert check(rail(**without), BLOATED[category]).passed
    assert (
        check(rail(**{**without, limit: BloatConfig.model_fields[limit].default}), BLOATED[category]).category
        == category
    )


def test_words_are_counted():
    assert check(rail(max_words=3), "one two three").passed
    verdict = check(rail(max_words=3), "one two\nthree four")
    assert (verdict.category, verdict.reason) == ("too_long", "the text has more than `max_words` (3) words")


def test_a_long_text_is_as_bloated_as_the_worst_part_of_it():
    filler = base64.b64encode(RANDOM.randbytes(9000)).decode()
    assert in_parts(rail(), f"{PROSE}\n{filler}\n{PROSE}").category == "random"
    assert in_parts(rail(), f"{PROSE}\n{'so ' * 5000}\n{PROSE}").category == "says_little"


def test_short_texts_are_only_measured_by_their_length():
    assert check(rail(), "a" * 999).passed
    assert not check(rail(), "a" * 1000).passed
    assert not check(rail(max_chars=10), "a" * 11).passed


def test_white_space_alone_is_bloat():
    assert check(rail(), "\n" * 5000).category == "says_little"
    assert check(rail(), " \n" * 2000).category == "says_little"


@given(st.text(max_size=300), st.sampled_from(["", *BLOATED.values()]), st.integers(1, 9000))
def test_any_text_has_a_verdict(text: str, bloated: str, end: int):
    verdict = check(rail(), text + bloated[:end] + "\ud800")
    assert verdict.passed or verdict.reason


def test_the_verdict_quotes_nothing():
    quoted = {word for word in WORDS if len(word) > 5}
    for text in BLOATED.values():
        assert quoted.isdisjoint(check(rail(), text).reason.split())
