"""Moderations with the official `openai` package."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest
from guarded.server import Guard, answers, chat, guard
from openai import AsyncOpenAI, OpenAI
from openai.types import ModerationCreateResponse
from serving import Running, run_gateway

TREE = {
    "models": {"guard": {"deployments": [{"engine": "guard"}]}},
    "rails": {
        "profiles": {
            "eyes": {
                "rails": [
                    {"kind": "regex", "patterns": {"violence": "blood"}},
                    {"kind": "llama_guard", "version": 4, "model": "guard"},
                ]
            },
            "broken": {"rails": [{"kind": "llama_guard", "model": "guard", "timeout_ms": 1}]},
        },
        "moderation": {"eyes": "eyes"},
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[Guard]:
    with guard(answers(chat("unsafe\nS11"))) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(server: Guard) -> Iterator[Running]:
    engines = {"guard": {"kind": "vllm", "url": server.base_url, "probe": "none"}}
    with run_gateway(json.dumps({**TREE, "engines": engines})) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(gateway: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=20) as client:
        yield client


def test_a_text_without_a_model(client: OpenAI) -> None:
    answer = client.moderations.create(input="You are a fucking idiot")
    assert answer.id.startswith("modr-")
    assert answer.model == "omni-moderation-latest"
    [result] = answer.results
    assert result.flagged
    assert result.categories.harassment
    assert result.category_scores.harassment >= 0.5
    assert result.category_applied_input_types.harassment == ["text"]
    assert not result.categories.self_harm_intent
    assert result.category_scores.sexual_minors < 0.1
    assert answer._request_id is not None


def test_every_field_is_as_the_package_declares_it(client: OpenAI) -> None:
    """The package reads any answer. Its types, read strictly, have no field that is missing, and none is left over."""
    raw = client.moderations.with_raw_response.create(input=["fine", "blood"], model="eyes")
    told = json.loads(raw.content)
    answer = ModerationCreateResponse.model_validate(told, strict=True)
    assert answer.model_dump(by_alias=True) == told
    for result in answer.results:
        for values in (result.categories, result.category_scores, result.category_applied_input_types):
            assert None not in values.model_dump().values()


def test_a_list_of_texts(client: OpenAI) -> None:
    answer = client.moderations.create(
        input=["Good day.", "You are a fucking idiot"], model="text-moderation-latest"
    )
    assert [one.flagged for one in answer.results] == [False, True]


def test_an_image(client: OpenAI) -> None:
    answer = client.moderations.create(
        model="eyes",
        input=[
            {"type": "text", "text": "all the blood"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ],
    )
    [result] = answer.results
    assert result.flagged
    assert (result.categories.self_harm, result.categories.violence, result.categories.hate) == (
        True,
        True,
        False,
    )
    assert result.category_applied_input_types.self_harm == ["text", "image"]


def test_mistakes_are_the_package_s_own_exceptions(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"input\[0\]") as wrong:
        client.moderations.create(
            input=[{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]
        )
    assert wrong.value.param == "input[0]"
    with pytest.raises(openai.NotFoundError, match="There is no model 'moderator'"):
        client.moderations.create(input="a", model="moderator")
    with pytest.raises(openai.BadRequestError, match="is empty"):
        client.moderations.create(input=[])


@pytest.mark.anyio
async def test_the_async_client(gateway: Running) -> None:
    async with AsyncOpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=20) as client:
        answer = await client.moderations.create(input="You are a fucking idiot")
        assert answer.results[0].categories.harassment
        answer = await client.moderations.create(input=["a", "b"], model="eyes")
        assert [one.categories.self_harm for one in answer.results] == [True, True]
