"""The API through the gateway with the official client, answered by a real vLLM."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai import OpenAI
from serving import Process, ask, eventually
from vllm_server import CONTEXT_TOKENS, MODEL, Vllm

QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]
TOLD: Any = {"model": MODEL, "messages": QUESTION, "max_tokens": 24, "temperature": 0}


def test_a_chat_says_what_vllm_says(client: OpenAI, direct: OpenAI) -> None:
    answer, same = (c.chat.completions.create(**TOLD) for c in (client, direct))
    assert answer.choices[0].message.content
    assert answer.choices == same.choices
    assert answer.usage is not None
    assert same.usage is not None
    assert answer.usage.completion_tokens == same.usage.completion_tokens
    assert answer.model == MODEL


def test_every_event_of_a_stream_arrives_and_makes_the_whole(client: OpenAI) -> None:
    events = list(client.chat.completions.create(**TOLD, stream=True, stream_options={"include_usage": True}))
    text = "".join(choice.delta.content or "" for event in events for choice in event.choices)
    assert text == client.chat.completions.create(**TOLD).choices[0].message.content
    assert [choice.finish_reason for event in events for choice in event.choices][-1] in {"stop", "length"}
    usage = events[-1].usage
    assert usage is not None
    assert usage.completion_tokens >= len([event for event in events if event.choices]) - 2


def test_another_name_for_the_model(client: OpenAI) -> None:
    answer, same = (
        client.chat.completions.create(**{**TOLD, "model": name}) for name in ("renamed-tide", MODEL)
    )
    assert answer.choices == same.choices


def test_several_choices_streamed_and_whole(client: OpenAI) -> None:
    asked: Any = {**TOLD, "n": 3, "temperature": 1.0, "seed": 7}
    answer = client.chat.completions.create(**asked)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1
    ended: set[int] = set()
    for event in client.chat.completions.create(**asked, stream=True):
        ended |= {choice.index for choice in event.choices if choice.finish_reason}
    assert ended == {0, 1, 2}


def test_the_same_seed_makes_the_same_answer(client: OpenAI) -> None:
    asked: Any = {**TOLD, "temperature": 1.0, "seed": 1234}
    one, two = (client.chat.completions.create(**asked).choices[0].message.content for _ in range(2))
    assert one == two


def test_a_stop_word_ends_it(client: OpenAI) -> None:
    whole = client.chat.completions.create(**TOLD).choices[0].message.content or ""
    word = whole.split()[3]
    answer = client.chat.completions.create(**TOLD, stop=[word]).choices[0]
    assert answer.finish_reason == "stop"
    assert answer.message.content == whole[: whole.index(word)]


def test_the_end_for_length(client: OpenAI) -> None:
    answer = client.chat.completions.create(**{**TOLD, "max_tokens": 3}, extra_body={"ignore_eos": True})
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_the_probabilities_of_tokens(client: OpenAI) -> None:
    answer = client.chat.completions.create(**TOLD, logprobs=True, top_logprobs=2).choices[0]
    assert answer.logprobs is not None
    assert answer.logprobs.content is not None
    tokens = [token.token for token in answer.logprobs.content]
    assert "".join(tokens).startswith(answer.message.content or "?")
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in answer.logprobs.content)


def test_vllms_own_sampling_fields_pass(client: OpenAI, direct: OpenAI) -> None:
    own = {"top_k": 1, "min_p": 0.1, "repetition_penalty": 1.3, "min_tokens": 12, "return_token_ids": True}
    answer, same = (c.chat.completions.create(**TOLD, extra_body=own) for c in (client, direct))
    assert answer.usage is not None
    assert answer.usage.completion_tokens >= 12
    ids = [choice.model_dump()["token_ids"] for choice in (answer.choices[0], same.choices[0])]
    assert ids[0] == ids[1]
    assert len(ids[0]) == answer.usage.completion_tokens


def test_completions(client: OpenAI) -> None:
    asked: Any = {"model": MODEL, "prompt": "The capital of France is", "max_tokens": 4, "temperature": 0}
    whole = client.completions.create(**asked).choices[0].text
    parts = [event.choices[0].text for event in client.completions.create(**asked, stream=True)]
    assert "".join(parts) == whole
    assert "Paris" in whole


WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,  # without it vLLM lets the model write any JSON
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "London"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_that_has_to_be_called(client: OpenAI, stream: bool) -> None:
    """The model's template knows no tools, so it cannot choose one; vLLM makes it fill in one that is named."""
    asked: Any = {
        **TOLD,
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "max_tokens": 60,
    }
    if stream:
        with client.chat.completions.stream(**asked) as events:
            message = events.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.create(**asked).choices[0].message
    (call,) = message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in {"Paris", "London"}


# ----------------------------------------------------------------------------------------------------------------- errors


def test_a_model_that_nobody_configured_and_one_that_vllm_does_not_have(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(**{**TOLD, "model": "gpt-9"})
    assert raised.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(**{**TOLD, "model": "not-there"})
    assert unknown.value.code == "model_not_found"
    assert "the engine does not know" in str(unknown.value)


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_told_in_vllms_words(client: OpenAI, stream: bool) -> None:
    long: Any = [{"role": "user", "content": "tide " * (CONTEXT_TOKENS + 50)}]
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**{**TOLD, "messages": long}, stream=stream)
    assert raised.value.code == "context_length_exceeded"
    assert f"maximum context length is {CONTEXT_TOKENS} tokens" in str(raised.value)


def test_a_value_that_vllm_refuses(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**{**TOLD, "temperature": 9.0})
    assert raised.value.param == "temperature"


@pytest.mark.parametrize(
    "field", ["priority", "cache_salt", "kv_transfer_params", "vllm_xargs", "request_id", "chat_template"]
)
def test_what_reaches_into_vllm_is_refused_by_name(client: OpenAI, field: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**TOLD, extra_body={field: "x"})
    assert raised.value.param == field


def test_a_clients_headers_for_vllm_do_not_reach_it(gateway: Process, vllm: Vllm) -> None:
    """Shown by one that vLLM lets be seen; the one for priorities would go the same way."""
    body, header = json.dumps(TOLD).encode(), {"x-request-id": "the-clients", "x-vllm-priority": "-9"}
    assert "the-clients" in ask(f"{vllm.base_url}/chat/completions", body, header).json["id"]
    assert "the-clients" not in ask(f"{gateway.base_url}/chat/completions", body, header).json["id"]


def test_ready_and_listed(gateway: Process, client: OpenAI) -> None:
    eventually(lambda: ask(f"{gateway.url}/readyz", method="GET").status == 200, "ready")
    assert MODEL in {model.id for model in client.models.list()}
