"""What a call needs and has used: the tokens of prompts in all their forms, and the arithmetic of money."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.quotas.headers import duration
from tidegate.quotas.needs import Need, Price, used
from tidegate.quotas.tokens import (
    MEDIA_TOKENS,
    MESSAGE_TOKENS,
    Count,
    load_vocabulary,
    prompt_of,
    tokens_in,
    tokens_of_json,
)
from tidegate.types import (
    Answer,
    ChatRequest,
    Choice,
    CompletionRequest,
    Delta,
    EmbeddingRequest,
    Piece,
    Request,
    Spent,
    Usage,
)


@pytest.fixture(scope="module")
def count() -> Count:
    return load_vocabulary()


def read(kind: type[Any], **fields: Any) -> Request:
    return msgspec.json.decode(json.dumps({"model": "m", **fields}), type=kind)


def words(text: str) -> int:
    return len(text.split())


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * 50_000}}


@pytest.mark.parametrize(
    ("request_", "tokens"),
    [
        (read(ChatRequest, messages=[{"role": "user", "content": "one two three"}]), 3 + MESSAGE_TOKENS),
        (
            read(
                ChatRequest,
                messages=[{"role": "system", "content": "one"}, {"role": "assistant", "content": None}],
            ),
            1 + 2 * MESSAGE_TOKENS,
        ),
        (
            read(
                ChatRequest, messages=[{"role": "user", "content": [{"type": "text", "text": "a b"}, IMAGE]}]
            ),
            2 + MESSAGE_TOKENS + MEDIA_TOKENS,
        ),
        (read(CompletionRequest, prompt="one two"), 2),
        (read(CompletionRequest, prompt=["one two", "three"]), 3),
        (read(CompletionRequest, prompt=[1, 2, 3, 4]), 4),
        (read(CompletionRequest, prompt=[[1, 2], [3]]), 3),
        (read(EmbeddingRequest, input=["one", "two three"]), 3),
        (read(EmbeddingRequest, input=[5, 6]), 2),
    ],
)
def test_every_form_of_a_prompt_is_counted(request_: Request, tokens: int) -> None:
    assert prompt_of(request_).tokens(words) == tokens


@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "utf8"])
@pytest.mark.parametrize("text", ["plain words " * 1000, "Größe und Maß " * 1000, "語彙 " * 1000])
def test_a_value_that_is_read_in_pieces_counts_about_the_same(count: Count, text: str, escaped: bool) -> None:
    message = {"role": "user", "content": text}
    raw = msgspec.Raw(json.dumps(message, ensure_ascii=escaped).encode())
    exact = prompt_of(read(ChatRequest, messages=[message])).tokens(count)
    assert tokens_of_json([raw], count) == pytest.approx(exact, rel=0.05, abs=20)


def test_media_in_a_large_value_counts_as_media(count: Count) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "QUJD" * 50_000, "format": "wav"}}
    raw = msgspec.Raw(json.dumps({"role": "user", "content": [IMAGE, sound]}).encode())
    assert 2 * MEDIA_TOKENS < tokens_of_json([raw], count) < 2 * MEDIA_TOKENS + 100


def test_a_large_list_of_tokens_counts_as_its_length(count: Count) -> None:
    assert tokens_of_json([msgspec.Raw(json.dumps([*range(100_000)]).encode())], count) == 100_000


@given(st.binary(max_size=300))
def test_no_bytes_break_the_count(data: bytes) -> None:
    assert tokens_of_json([msgspec.Raw(data)], words) >= 0


@given(st.text(max_size=400))
def test_no_text_has_more_tokens_than_is_promised(text: str) -> None:
    prompt = prompt_of(CompletionRequest("m", prompt=text))
    assert prompt.tokens(lambda one: len(one.encode("utf-8", "surrogatepass"))) <= prompt.most_tokens


# ---------------------------------------------------------------------------------------------------------------- money


def spent(
    purpose: str = "answer", outcome: str = "ok", first: float = 1.0, received: int = 0, **usage: int
) -> Spent:
    return Spent(
        purpose,
        "e",
        "m",
        0.5,
        first,
        2.0,
        Usage(**usage) if usage else None,
        outcome,
        received_tokens=received,
    )


PRICE = Price(prompt=3_000_000, completion=15_000_000)
"""3 and 15 US dollars for a million tokens."""


def test_money_is_reserved_for_the_dearest_outcome() -> None:
    need = Need(prompt=100, completion=1000, most_prompt=400)
    assert need.amounts(PRICE) == (1, 1100, 400 * 3 + 1000 * 15)
    assert need.amounts(None) == (1, 1100, 0)


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_cost_is_exact_and_rounded_up(
    prompt: int, completion: int, of_prompt: int, of_completion: int
) -> None:
    cost = Price(of_prompt, of_completion).cost(prompt, completion)
    exact = prompt * of_prompt + completion * of_completion
    assert 0 <= cost * 1_000_000 - exact < 1_000_000


@pytest.mark.parametrize(
    ("entries", "internal", "amounts"),
    [
        ([], False, (0, 0, 0)),
        ([spent(prompt_tokens=10, completion_tokens=5)], False, (1, 15, 10 * 3 + 5 * 15)),
        ([spent(prompt_tokens=10, completion_tokens=5)] * 2, False, (1, 30, 2 * (10 * 3 + 5 * 15))),
        # Judges and summaries are for the house unless the policy says otherwise.
        (
            [spent(prompt_tokens=1, completion_tokens=1), spent("judge:facts", prompt_tokens=9)],
            False,
            (1, 2, 18),
        ),
        (
            [spent(prompt_tokens=1, completion_tokens=1), spent("judge:facts", prompt_tokens=9)],
            True,
            (1, 11, 45),
        ),
        # Of an answer that another engine has continued, the caller pays for one prompt.
        (
            [spent(received=7), spent("continued", prompt_tokens=107, completion_tokens=5)],
            False,
            (1, 112, 100 * 3 + 12 * 15),
        ),
        (
            [spent(received=7), spent("continued", outcome="engine_timeout", first=0.0)],
            False,
            (1, 107, 100 * 3 + 7 * 15),
        ),
        ([spent("regenerate", prompt_tokens=1, completion_tokens=1)], False, (1, 2, 18)),
        # An engine that reports nothing: what has arrived counts.
        ([spent(received=7)], False, (1, 107, 100 * 3 + 7 * 15)),
        ([spent(received=7, prompt_tokens=0, completion_tokens=0)], False, (1, 107, 100 * 3 + 7 * 15)),
        # An answer that broke off may have reported less than has arrived since.
        (
            [spent(outcome="cancelled", received=50, prompt_tokens=10, completion_tokens=5)],
            False,
            (1, 60, 780),
        ),
        ([spent(outcome="engine_error", first=0.0)], False, (1, 0, 0)),
        ([spent(outcome="cancelled", first=0.0)], False, (1, 100, 300)),
        ([spent(outcome="engine_unreachable", first=0.0), spent(prompt_tokens=1)], False, (1, 1, 3)),
    ],
)
def test_what_was_used(entries: list[Spent], internal: bool, amounts: tuple[int, int, int]) -> None:
    assert used(entries, Need(prompt=100, completion=1000), PRICE, internal=internal) == amounts


@pytest.mark.parametrize(
    ("entries", "amounts"),
    [
        ([], (1, 0, 0)),  # an answer that another call has paid for
        ([spent(prompt_tokens=10, completion_tokens=5)], (1, 15, 10 * 3 + 5 * 15)),
        ([spent("judge:facts", prompt_tokens=9)], (1, 0, 0)),
    ],
)
def test_what_was_used_by_a_call_that_got_the_answer_of_another(
    entries: list[Spent], amounts: tuple[int, int, int]
) -> None:
    assert used(entries, Need(prompt=100, completion=1000), PRICE, recalled=True) == amounts


@pytest.mark.parametrize(
    ("delta", "tokens"),
    [
        (Delta(content="a"), 1),
        (Delta(content="four" * 5), 5),
        (Delta(reasoning_content="12345"), 2),
        (Delta(reasoning="1"), 1),
        (Delta(refusal="no"), 1),
        (Delta(content=""), 0),
        (Delta(), 0),
        (Delta(tool_calls=[{"function": {"arguments": "x" * 40}}]), 10),
    ],
)
def test_what_arrives_is_estimated_by_its_length(delta: Delta, tokens: int) -> None:
    assert tokens_in([Piece(b"", Answer(choices=[Choice(delta=delta)]))]) == tokens


# -------------------------------------------------------------------------------------------------------------- headers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, b"0ms"),
        (0.0171, b"18ms"),
        (0.9999, b"1s"),
        (1, b"1s"),
        (8.64, b"8.64s"),
        (59.9999, b"1m0s"),
        (360, b"6m0s"),
        (432.5, b"7m12.5s"),
        (3600, b"1h0m0s"),
        (86_399.5, b"23h59m59.5s"),
    ],
)
def test_times_are_written_as_openai_writes_them(seconds: float, text: bytes) -> None:
    assert duration(seconds) == text


# ------------------------------------------------------------------------------------- what counts, wherever it stands

LONG = "some words of a prompt " * 400
"""About 2,000 tokens."""


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": LONG},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "f", "arguments": LONG}}],
        },
        {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": LONG}},
        {"role": "assistant", "content": "ok", "reasoning_content": LONG},
        {"role": "assistant", "content": "ok", "refusal": LONG},
        {"role": "user", "content": "ok", "name": LONG},
        {"role": "user", "content": [{"type": "text", "text": LONG}]},
        {"role": "user", "content": [{"type": "refusal", "refusal": LONG}]},
        {"role": "user", "content": [{"type": "image_url", "text": LONG}]},
        {"role": "user", "content": f'";base64,{LONG}'},
        {"role": "user", "content": f'"data": "{LONG}'},
        {"role": "user", "content": f'"url":"data:image/png;base64,{LONG}'},
    ],
)
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_text_counts_wherever_it_stands_in_a_message(count: Count, message: Any, large: bool) -> None:
    raw = msgspec.Raw(json.dumps([message]).encode())
    if large:
        tokens = tokens_of_json([msgspec.Raw(bytes(raw)[1:-1])], count)
    else:
        tokens = prompt_of(read(ChatRequest, messages=[message]), messages=raw).tokens(count)
    assert 1990 <= tokens <= 3500


def test_media_count_beside_an_empty_text() -> None:
    content = [{**IMAGE, "text": ""}]
    assert (
        prompt_of(read(ChatRequest, messages=[{"role": "user", "content": content}])).tokens(words)
        >= MEDIA_TOKENS
    )


def test_characters_that_are_escaped_in_two_halves_count(count: Count) -> None:
    text = "😀😎" * 500
    raw = msgspec.Raw(json.dumps({"role": "user", "content": text}).encode())
    assert tokens_of_json([raw], count) == pytest.approx(count(text), rel=0.1)


@pytest.mark.parametrize(
    ("usage", "received", "tokens"),
    [
        ({"prompt_tokens": 12}, 100, 112),
        ({"completion_tokens": 100}, 100, 200),
        ({"prompt_tokens": 12, "completion_tokens": 1}, 100, 112),
        ({"prompt_tokens": 12, "completion_tokens": 90}, 100, 102),
        ({"prompt_tokens": 12, "completion_tokens": 2**53}, 100, 12 + 10_000_000),
        ({"prompt_tokens": 2**53, "completion_tokens": 1}, 1, 10_000_001),
    ],
)
def test_figures_of_an_engine_that_cannot_be_right(usage: dict[str, int], received: int, tokens: int) -> None:
    assert used([spent(received=received, **usage)], Need(prompt=100), None) == (1, tokens, 0)


def test_no_amount_exceeds_what_a_float_holds() -> None:
    assert Need(prompt=10**400, completion=10**400, most_prompt=10**400).amounts(PRICE) == (1, 2**53, 2**53)
