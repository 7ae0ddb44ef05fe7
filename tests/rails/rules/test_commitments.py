"""The rail `commitments`: what a support bot promises, and what only looks like it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rails.found import SCENE, kinds
from rails.promises import ALLOW, ANSWERS, OFFERS, Said

from tidegate.kernel.text import Views
from tidegate.rails.rules.wording.commitments import Commitments, CommitmentsConfig
from tidegate.rails.rules.wording.promising import CATEGORIES

HARMLESS = (
    "The tide turns twice a day, at about six hours and twelve minutes.",
    "I can help you with your question about refunds.",
    "I'll explain how discounts are computed: multiply the price by the rate.",
    "We will look at three ways to sort a list.",
    "I will send you an email tomorrow.",
    "You can use the refund endpoint of the API.",
    "The function will return the price.",
    "I can replace the loop with a comprehension.",
    "In this story, the dragon will arrive tomorrow.",
    "Our meeting will start on Monday.",
    "We have 99.9% uptime.",
    "We provide 24/7 support.",
    "The warranty is described in the manual.",
    "A refund is money that is paid back.",
)


def rail(**settings: Any) -> Commitments:
    return Commitments(CommitmentsConfig.model_validate(settings))


STRICT = rail()
SHOP = rail(allow=ALLOW)


def category(commitments: Commitments, text: str) -> str:
    return commitments.check(Views(text), SCENE).category


def test_there_are_many_answers_of_each_label() -> None:
    counts = {label: sum(one.label == label for one in ANSWERS) for label in ("promise", "hedge", "offer")}
    assert min(counts["promise"], counts["hedge"]) > 100
    assert counts["offer"] > 10
    assert {one.category for one in ANSWERS} == {*CATEGORIES, ""}


@pytest.mark.parametrize("said", ANSWERS, ids=lambda said: said.text[:60])
def test_each_answer_ends_as_its_label_says(said: Said) -> None:
    verdict = SHOP.check(Views(said.text), SCENE)
    found = {span.kind.lower() for span in verdict.spans}
    assert verdict.passed is (said.label != "promise"), found
    assert said.category in found or said.label != "promise"


@pytest.mark.parametrize("text", OFFERS)
def test_offers_are_promises_where_nothing_is_allowed(text: str) -> None:
    assert category(STRICT, text)


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_texts_pass(text: str) -> None:
    assert category(STRICT, text) == ""


def test_each_sentence_is_judged_by_itself() -> None:
    text = "We cannot give you a refund. We will give you a refund. Maybe we can give you a refund."
    assert kinds(STRICT, text) == [("We will give you a refund", "MONEY")]


def test_each_of_many_promises_in_one_sentence_is_judged_by_what_is_around_it() -> None:
    well = "we'll refund you " * 30
    apart = "and so on " * 40
    text = f"{well}{apart}maybe we'll refund you; {apart}if it rains, we'll refund you {apart}{well}"
    assert kinds(STRICT, text) == [("we'll refund you", "MONEY")] * 60
    assert kinds(STRICT, f'{apart}they asked: "we\'ll refund you" {apart}"we\'ll refund you"') == [
        ("we'll refund you", "MONEY")
    ]


def test_no_promise_goes_on_in_the_next_sentence() -> None:
    assert category(STRICT, "We will give you\n\na refund.") == ""
    assert category(STRICT, "We will give you\n- a refund") == ""
    assert category(STRICT, "We will give you\na refund") == "money"
    assert kinds(STRICT, "You will only pay $5. Euros are not taken.") == [("You will only pay $5", "PRICE")]


def test_only_the_categories_of_the_settings_are_found() -> None:
    text = "We will refund you, and your order will arrive tomorrow."
    assert [kind for _, kind in kinds(STRICT, text)] == ["MONEY", "DELIVERY"]
    assert [kind for _, kind in kinds(rail(categories=["delivery"]), text)] == ["DELIVERY"]


def test_the_company_has_names() -> None:
    text = "Bluewave Café will refund you."
    assert category(STRICT, text) == ""
    assert category(rail(names=["Bluewave Café"]), text) == "money"


def test_offers_may_be_patterns() -> None:
    allowing = rail(allow_patterns=["voucher of [0-9] euros"])
    assert category(allowing, "We will send you a voucher of 5 euros.") == ""
    assert category(allowing, "We will send you a voucher of 50 euros.") == "discount"


def test_a_limit_needs_a_number() -> None:
    assert category(rail(allow=["discount up to 10 %"]), "We will give you a discount.") == "discount"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"allow": ["discount up to 10 turnips"]}, "unit 'turnips', which is not known"),
        ({"allow_patterns": ["(?=x)"]}, "not one of RE2's"),
        ({"categories": []}, "at least 1 item"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        rail(**settings)


def test_disguises_and_marks_are_seen_through() -> None:
    assert category(STRICT, "We w\u200bill give you a **full refund**.") == "money"
    assert category(STRICT, "W\u0435 will give you\na full refund.") == "money"
    assert category(STRICT, "We\u2019ll give you a \u201cfull\u201d refund.") == "money"


@given(
    st.lists(
        st.sampled_from(
            [
                " ",
                "we will ",
                "give you ",
                "a refund",
                "if ",
                ". ",
                "?",
                '"',
                "10 % ",
                "discount ",
                "\n",
                "é",
                "not ",
            ]
        )
    )
)
def test_spans_are_within_the_text_and_in_order(pieces: list[str]) -> None:
    text = "".join(pieces)
    for one in (STRICT, SHOP):
        spans = one.check(Views(text), SCENE).spans
        assert all(0 <= span.start < span.end <= len(text) for span in spans)
        assert all(a.end <= b.start for a, b in pairwise(spans))
