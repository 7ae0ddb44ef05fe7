"""The rail `token_limit`: prompts against the context of the model and the operator's limit."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.kernel.text import Views
from tidegate.rails.rules.token_limit import TokenLimit, TokenLimitConfig
from tidegate.types import Scene, Surface, Where
from tidegate.types.caller import Caller


def verdict(prompt: int, *, answer: int = -1, context: int = -1, **settings: Any):
    scene = Scene(
        Where(-1, ""),
        Surface.INPUT,
        caller=Caller("nobody"),
        deadline=0.0,
        prompt_tokens=prompt,
        answer_tokens=answer,
        context_tokens=context,
    )
    return TokenLimit(TokenLimitConfig(**settings)).check(Views(""), scene)


@pytest.mark.parametrize(
    ("prompt", "answer", "context", "passes"),
    [
        (700, 300, 1000, True),
        (701, 300, 1000, False),
        (999, -1, 1000, True),
        (1000, -1, 1000, False),
        (10, 2000, 1000, False),
        (-1, 300, 1000, True),
        (5000, 300, -1, True),
    ],
)
def test_the_context_less_the_answer_is_the_limit(prompt: int, answer: int, context: int, passes: bool):
    assert verdict(prompt, answer=answer, context=context).passed is passes


def test_an_answer_of_unknown_length_has_room_reserved():
    assert verdict(800, context=1000, reserve_tokens=200).passed
    assert not verdict(801, context=1000, reserve_tokens=200).passed


def test_the_operators_limit_holds_as_well():
    assert verdict(100, max_tokens=100, context=1000).passed
    assert not verdict(101, max_tokens=100, context=1000).passed


def test_the_reason_says_the_numbers():
    assert verdict(101, max_tokens=100).reason == "the prompt has about 101 tokens and may have 100"
    assert verdict(701, answer=300, context=1000).reason == (
        "the prompt has about 701 tokens and may have 700: the model's context of 1000 less 300 for the answer"
    )


def test_it_checks_a_request_once():
    assert TokenLimit(TokenLimitConfig()).about.once
