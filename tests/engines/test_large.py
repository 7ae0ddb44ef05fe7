"""Large whole answers mean the same as small ones, only that their long texts stay unparsed."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.engines.openai import read_answer
from tidegate.errors import UpstreamError

LONG = "x" * 5000
PARTS = ("content", "tool_calls", "reasoning_content", "reasoning", "refusal", "function_call")


def both(answer: Any) -> tuple[Any, Any]:
    data = json.dumps(answer).encode()
    return read_answer(data), read_answer(data, large=True)


values = st.none() | st.text(max_size=20) | st.lists(st.integers(), max_size=3) | st.just({"a": "b"})
parts = st.dictionaries(st.sampled_from(PARTS), values)
choices = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 9),
        "message": st.none() | parts,
        "delta": st.none() | parts,
        "text": st.none() | st.text(max_size=20),
        "finish_reason": st.sampled_from([None, "stop"]),
        "logprobs": values,
    },
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "choices": st.none() | st.lists(choices, max_size=3),
            "usage": st.none() | st.just({"prompt_tokens": 3.0}),
        },
    )
)
def test_short_parts_are_read_as_ever(answer: dict[str, Any]) -> None:
    usual, large = both(answer)
    assert usual == large


@pytest.mark.parametrize("part", PARTS)
def test_a_long_part_stays_as_it_came(part: str) -> None:
    usual, large = both({"choices": [{"message": {part: LONG}, "finish_reason": "stop"}]})
    raw = getattr(large.choices[0].message, part)
    assert isinstance(raw, msgspec.Raw)
    assert msgspec.json.decode(raw) == getattr(usual.choices[0].message, part) == LONG
    assert usual.choices[0].has_content() == large.choices[0].has_content() is True


def test_a_long_text_of_a_completion_counts_as_content() -> None:
    _, large = both({"choices": [{"text": LONG, "finish_reason": "stop"}]})
    assert large.choices[0].has_content()


@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":[{"text":[%b1]}]}' % (b"1," * 2000),
        b'{"choices":[{"text":7}]}',
        b'{"choices":[{"message":7}]}',
        b'{"choices":[{"message":{"content":"%b\xff"}}]}' % (b"x" * 600_000),
        b'{"choices":[{"message":{"content":"%b\xe4\xb8"}}]}' % (b"x" * 5000),
        b'{"choices":[{"message":{"content":"%b"}}]' % (b"x" * 5000),
        b'{"error":{"message":"%b"}}' % (b"x" * 5000),
        b"[" * 5000,
    ],
)
def test_what_is_no_answer_is_refused_as_ever(data: bytes) -> None:
    for large in (False, True):
        with pytest.raises(UpstreamError):
            read_answer(data, large=large)


@pytest.mark.parametrize("at", range(262_144 - 5, 262_144 + 5))
def test_a_character_may_lie_across_a_slice(at: int) -> None:
    start = b'{"choices":[{"message":{"content":"'
    data = start + b"x" * (at - len(start)) + "中😀é".encode() + b'"}}]}'
    read_answer(data, large=True)
