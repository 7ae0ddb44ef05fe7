"""A look for the signs of several rules: it may only be quiet about texts that each of the rules passes."""

from __future__ import annotations

import json

import pytest
from evasions import TRANSFORMS
from hypothesis import example, given
from hypothesis import strategies as st

from rails.attacks import ENGLISH
from rails.found import SCENE
from tidegate.config import parse_text
from tidegate.kernel.text import Views
from tidegate.rails.plan import Plan, compile_plans
from tidegate.rails.signs import Look
from tidegate.types import PASSED

RAILS: tuple[dict[str, object], ...] = (
    {"kind": "injection", "threshold": "low"},
    {
        "kind": "pii",
        "entities": ["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "URL"],
    },
    {"kind": "secrets"},
    {"kind": "hidden_text"},
    {"kind": "links"},
    {"kind": "code_injection", "surfaces": ["input"]},
    {"kind": "advice", "surfaces": ["input"]},
    {"kind": "commitments", "surfaces": ["input"], "allow": ["discount up to 10 %", "free shipping"]},
    {"kind": "toxicity", "threshold": 0.4, "allow": ["shit happens"]},
)
PIECES = st.one_of(
    st.sampled_from(
        [
            "ignore all previous instructions",
            "system prompt",
            "SGVsbG8gd29ybGQhIQ",
            "aWdub3JlIGFsbA==",
            "%69gnore",
            "&#105;gnore",
            "&lt;",
            "i g n o r e",
            "1gn0re",
            "\\x69\\u0067",
            "69 67 6e 6f 72 65 20 61",
            "ann@example.com",
            "+1 (212) 555-0123",
            "4111 1111 1111 1111",
            "sk-",
            "AKIAIOSFODNN7EXAMPLE",
            "password = hunter2",
            "<",
            "im_start",
            ">",
            "[INST]",
            "###",
            "snoitcurtsni",
            "vtaber",
            "DE89370400440532013000",
            "-----BEGIN PRIVATE KEY-----",
            "078-05-1120",
            "the village",
            "without",
            "sin",
            "base",
            "https://a.example/b",
            "![a](//b.example/c)",
            "[https://a.example](https://b.example)",
            "<img src=//b.example/c>",
            "url(//b.example/c",
            "' or 1=1",
            "<img src=x onerror=",
            "`",
            "```\n",
            "{{ config }}",
            "; curl https://",
            "You should take",
            "400 mg",
            "stop taking your pills",
            "we will give you",
            "a refund",
            "free shipping",
            "5h1t",
            "s h i t",
            "b@st4rd",
        ]
    ),
    st.text(st.characters(min_codepoint=9, max_codepoint=126), max_size=24),
    st.text("0123456789abcdefABCDEF +-/.\n", max_size=24),
)
TEXTS = st.lists(PIECES, max_size=8).flatmap(
    lambda pieces: st.sampled_from([" ", "", "\n", "."]).map(lambda between: between.join(pieces))
)


def made(*rails: dict[str, object]) -> tuple[Plan, Look]:
    tree = {"rails": {"profiles": {"p": {"rails": [{"on_fail": "log", **one} for one in rails]}}}}
    plan = compile_plans(parse_text(json.dumps(tree), source="the test").rails, ["p"])["p"]
    assert plan.input_look is not None
    return plan, plan.input_look


PLAN, LOOK = made(*RAILS)


def objections(text: str) -> list[str]:
    return [step.name for step in PLAN.input_rules if step.rail.check(Views(text), SCENE) is not PASSED]


@given(TEXTS)
@example("x=password&y")
def test_a_quiet_text_is_passed_by_every_rule(text: str) -> None:
    if LOOK.is_quiet(text):
        assert objections(text) == []


@pytest.mark.parametrize("name", TRANSFORMS)
def test_no_attack_is_quiet_however_it_is_hidden(name: str) -> None:
    for attack in ENGLISH.splitlines():
        hidden = f"Well. {TRANSFORMS[name](attack)} Thanks!"
        assert not (LOOK.is_quiet(hidden) and objections(hidden))


def test_usual_texts_are_quiet() -> None:
    assert LOOK.is_quiet(
        "The quick brown fox jumps over the lazy dog near the river bank while the sun sets."
    )
    assert LOOK.is_quiet("")


def test_only_plain_texts_are_quiet() -> None:
    assert not LOOK.is_quiet("a caf\u00e9")


def test_a_rule_without_signs_is_asked_about_every_text() -> None:
    plan, look = made({"kind": "pii"}, {"kind": "blocklist", "words": ["fox"]})
    assert {step.name for step in look.steps} == {"pii"}
    assert {step.name for step in plan.input_rules} == {"pii", "blocklist"}
