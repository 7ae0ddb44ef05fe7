"""The rail `toxicity`: rude words of several languages, and harmless words that have them inside."""

from __future__ import annotations

from typing import Any

import pytest
from evasions import TRANSFORMS
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rails.found import SCENE, kinds, streamed, whole

from tidegate.kernel.text import Views
from tidegate.rails.rules.wording.toxic import CATEGORIES, known
from tidegate.rails.rules.wording.toxicity import Toxicity, ToxicityConfig

RAIL = Toxicity(ToxicityConfig())
HARMLESS = (
    "The train from Scunthorpe passes Penistone and Cockermouth.",
    "Shitake mushrooms and shiitake soup with a classic assessment of taste.",
    "A cocktail on the cockpit; the peacock and the woodcock sang.",
    "The embarrassed ambassador passed the grass to the bass player.",
    "Take the A55, it is 5h17 now, and call 455 455 1234.",
    "The associate analysed the analysis of the Essex and Sussex basins.",
    "An F-U-N party: S.O.S., A.S.S.E.T., and C U later.",
    "s**t is s to the power of t, and x*y*z a product.",
    "Die dicke Pute kostet 20 Euro. Con mucho gusto, le retard est de 5 minutes.",
    "How do I kill a Python process?",
    "I will find you a seat, and I hope you diet well.",
    "MongoDB stores documents; a subnormal number is close to zero.",
)


def rail(**settings: Any) -> Toxicity:
    return Toxicity(ToxicityConfig.model_validate(settings))


def passes(toxicity: Toxicity, text: str) -> bool:
    return toxicity.check(Views(text), SCENE).passed


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_texts_pass(text: str) -> None:
    assert passes(RAIL, text)
    assert streamed(RAIL, [text])[0] == []


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("You are an idiot.", "insult"),
        ("What a load of bullshit", "profanity"),
        ("I'm going to kill you", "threat"),
        ("nice tits", "sexual"),
        ("they are all subhuman", "hate"),
        ("Du bist ein Arschloch!", "insult"),
        ("Ich weiß, wo du wohnst? Ich bring dich um", "threat"),
        ("Eres un gilipollas", "insult"),
        ("Pauvre enculé", "insult"),
        ("Vaffanculo!", "insult"),
        ("Vai se foder", "insult"),
        ("klootzak", "insult"),
    ],
)
def test_each_category_is_found_in_several_languages(text: str, category: str) -> None:
    verdict = RAIL.check(Views(text), SCENE)
    assert verdict.category == category
    assert verdict.score >= 0.5
    assert not passes(rail(categories=[category]), text)
    others = [one for one in CATEGORIES if one not in {span.kind.lower() for span in verdict.spans}]
    assert passes(rail(categories=others), text)


@pytest.mark.parametrize(
    "text",
    [
        "sh1t",
        "5hit",
        "b@stard",
        "a$$hole",
        "m0r0n",
        "s h i t",
        "s.h.i.t",
        "s-h-i-t",
        "s_h_i_t",
        "sh*t",
        "f**k",
        "b***h",
        "SHIT",
        "s\u200bhit",
        "\u0455hit",
        "\uff53\uff48\uff49\uff54",
        "\U0001d42c\U0001d421\U0001d422\U0001d42d",
        "merde",
        "ScHeIsSe",
    ],
)
def test_words_are_found_however_they_are_spelled(text: str) -> None:
    assert [found for found, _ in kinds(RAIL, f"oh {text}, well")] == [text]
    assert not passes(RAIL, text)


@pytest.mark.parametrize(
    "name", ["plain", "zero width spaces", "cyrillic", "fullwidth", "base64", "hex", "url", "tags"]
)
def test_disguised_words_are_found(name: str) -> None:
    assert not passes(RAIL, TRANSFORMS[name]("you are a worthless motherfucker, really"))


def test_every_word_of_the_list_is_found_with_its_category() -> None:
    every = rail(threshold=0.1)
    assert {one.category for one in known()} == set(CATEGORIES)
    for one in known():
        [span] = whole(every, f"x, {one.word} y")
        best = max(other.score for other in known() if other.word == one.word)
        assert span.score == best
        assert passes(RAIL, one.word) is (best < 0.5) or one.score < 0.5


def test_the_threshold_decides_about_mild_words() -> None:
    assert passes(RAIL, "damn it")
    assert not passes(rail(threshold=0.4), "damn it")
    assert passes(rail(threshold=0.9), "what an idiot")


def test_allowed_words_and_phrases_are_not_reported() -> None:
    allowing = rail(allow=["idiot", "shit happens", "holy shit"])
    assert passes(allowing, "The Idiot is a novel; shit happens, and holy shit.")
    assert not passes(allowing, "shit happened")
    assert not passes(allowing, "shit happens, shit")
    assert streamed(allowing, ["holy s", "hit, sh", "it", " happ", "ens"])[0] == []
    assert [span.start for span in streamed(allowing, ["sh", "it", " happ", "en, sorry"])[0]] == [0]


def test_settings_that_find_nothing_are_refused() -> None:
    with pytest.raises(ValidationError):
        rail(categories=[])
    with pytest.raises(ValidationError):
        rail(categories=["rude"])


PIECES = st.lists(
    st.sampled_from(
        [
            "shit",
            "sh",
            "1t",
            " happens",
            "holy ",
            "i will kill",
            " you",
            " ",
            "\u200b",
            "é",
            "a$$",
            "hole",
            "x",
            "s h i t",
            ".",
        ]
    ),
    max_size=12,
)


ALLOWING = rail(allow=["shit happens", "holy shit"])


@given(PIECES)
def test_streams_and_whole_texts_are_judged_alike(events: list[str]) -> None:
    for one in (RAIL, ALLOWING):
        assert streamed(one, events)[0] == whole(one, "".join(events))
