"""How long the answer to a request may be at most, in all the ways in which requests can say so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.call import Call
from tidegate.errors import BadRequest
from tidegate.http.apis import openai
from tidegate.stages.counting import answer_tokens, is_unbounded
from tidegate.types import Endpoint, Exit

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
TEXT: dict[str, Any] = {"prompt": "hi"}
EMBED: dict[str, Any] = {"input": "hi"}
ENDPOINTS = {"messages": Endpoint.CHAT, "prompt": Endpoint.COMPLETIONS, "input": Endpoint.EMBEDDINGS}


def call_of(fields: dict[str, Any]) -> Call:
    endpoint = next(end for name, end in ENDPOINTS.items() if name in fields)
    call = Call(id="1", endpoint=endpoint, exit=Exit(), arrived_at=0, received_at=0, deadline=9)
    openai.read(json.dumps({"model": "m", **fields}).encode(), call)
    return call


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        (CHAT, None),
        (CHAT | {"max_tokens": 5}, 5),
        (CHAT | {"max_tokens": 0}, 0),
        (CHAT | {"max_tokens": None}, None),
        (CHAT | {"max_tokens": -1}, None),
        (CHAT | {"max_tokens": 5, "n": 3}, 15),
        (CHAT | {"max_completion_tokens": 7}, 7),
        (CHAT | {"max_tokens": 5, "max_completion_tokens": 7}, 7),
        (CHAT | {"max_tokens": 5, "max_completion_tokens": -1}, None),
        (CHAT | {"n_predict": 30}, 30),
        (CHAT | {"n_predict": 30, "max_tokens": 5}, 30),
        (CHAT | {"n_predict": -1, "max_tokens": 5}, None),
        (CHAT | {"n_predict": None, "max_tokens": 5}, 5),
        (TEXT | {"max_tokens": 5, "best_of": 20}, 100),
        (TEXT | {"max_tokens": 5, "best_of": 4, "n": 2}, 20),
        ({"prompt": ["a", "b", "c"], "max_tokens": 5}, 15),
        ({"prompt": ["a", "b"], "max_tokens": 5, "best_of": 4, "n": 2}, 40),
        (EMBED, 0),
    ],
)
def test_the_most_that_an_answer_can_have(fields: dict[str, Any], most: int | None) -> None:
    assert answer_tokens(call_of(fields)) == most
    assert is_unbounded(call_of(fields)) is (most is None)


@pytest.mark.parametrize("value", ["90000", 10**10, 0.5, [], {}, True])
def test_a_length_of_llamacpp_that_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(BadRequest, match="'n_predict' must be a whole number") as raised:
        answer_tokens(call_of(CHAT | {"n_predict": value}))
    assert raised.value.param == "n_predict"


@pytest.mark.parametrize(
    "fields",
    [CHAT, CHAT | {"n_predict": -1}, CHAT | {"max_completion_tokens": -1}, CHAT | {"max_tokens": -5}, TEXT],
)
def test_a_length_that_is_set_is_the_only_one(fields: dict[str, Any]) -> None:
    call = call_of(fields)
    call.put_max_tokens(50)
    assert answer_tokens(call) == 50
    lengths = {name: bytes(raw) for name, raw in call.fields.items() if "max" in name or "predict" in name}
    assert lengths == {"max_tokens": b"50"}
