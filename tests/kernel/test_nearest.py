"""What somebody most likely meant: slips of the finger, and no guesses where nothing is close."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.engines import fields
from tidegate.kernel.nearest import MOST_KNOWN, nearest
from tidegate.types import Endpoint

CHAT = sorted(fields.OPENAI[Endpoint.CHAT])
MODELS = ["default", "gpt-4o", "gpt-4o-mini", "llama-3.1-8b", "meta/Qwen2.5-7B", "text-embedding-3-small"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("temprature", "temperature"),
        ("max_token", "max_tokens"),
        ("maxTokens", "max_tokens"),
        ("max-tokens", "max_tokens"),
        ("steam", "stream"),
        ("tool_choise", "tool_choice"),
        ("Temperature", "temperature"),
        ("responce_format", "response_format"),
        ("top_logprob", "top_logprobs"),
        ("mesages", "messages"),
        ("frequency_penality", "frequency_penalty"),
    ],
)
def test_fields(word: str, meant: str) -> None:
    assert nearest(word, CHAT) == meant


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("gpt-4", "gpt-4o"),
        ("gpt4o", "gpt-4o"),
        ("GPT-4o-Mini", "gpt-4o-mini"),
        ("openai/gpt-4o", "gpt-4o"),
        ("Qwen2.5-7B", "meta/Qwen2.5-7B"),
        ("llama-3.1-8b-instruct", "llama-3.1-8b"),
        ("llama-3.1-8B", "llama-3.1-8b"),
        ("text-embedding-3-smal", "text-embedding-3-small"),
        ("defualt", "default"),
    ],
)
def test_models(word: str, meant: str) -> None:
    assert nearest(word, MODELS) == meant


@pytest.mark.parametrize(
    "word", ["", "x", "foo", "claude-opus", "a" * 100_000, "temperature" * 10, "\x00", "😀😀"]
)
def test_no_guess(word: str) -> None:
    assert nearest(word, CHAT + MODELS) is None


@given(
    st.sampled_from(CHAT),
    st.integers(0, 30),
    st.sampled_from("abcxyz_"),
    st.sampled_from(["drop", "add", "swap"]),
)
def test_one_slip_is_forgiven(word: str, at: int, letter: str, how: str) -> None:
    at %= len(word)
    slipped = {
        "drop": word[:at] + word[at + 1 :],
        "add": word[:at] + letter + word[at:],
        "swap": word[:at] + word[at : at + 2][::-1] + word[at + 2 :],
    }[how]
    if len(slipped) > 1 and 0 < at < len(word) - 2:  # where the first or the last letter is right
        found = nearest(slipped, CHAT)
        assert found is not None
        assert abs(len(found) - len(slipped)) <= 30


@given(st.text(max_size=80), st.lists(st.text(max_size=80), max_size=20))
def test_what_is_found_is_known(word: str, known: list[str]) -> None:
    found = nearest(word, known)
    assert found is None or found in known
    if 1 < len(word) <= 64 and word in known:
        assert found is not None


def test_the_work_is_bounded() -> None:
    looked_at = 0

    def many() -> Iterator[str]:
        nonlocal looked_at
        while True:
            looked_at += 1
            yield "x" * 64

    assert nearest("a" * 64, many()) is None
    assert looked_at <= MOST_KNOWN + 1
