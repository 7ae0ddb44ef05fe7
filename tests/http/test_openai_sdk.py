"""A walk through the API with the official `openai` package: what an application does, in the words it does it with."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel
from serving import PATIENCE_S, Running, config_to, eventually, run_gateway

from tidegate.engines.scripted.script import Script
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread

WORDS = "The tide comes in and goes out."


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=Script(text=WORDS, tokens=8))) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(engine: ScriptedServer) -> Iterator[Running]:
    tree = json.loads(config_to(engine.base_url))
    tree["models"] = dict.fromkeys(("tide-1", "org/tide-2:latest", "ft-*"), tree["models"]["*"])
    with run_gateway(json.dumps(tree)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(gateway: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
async def async_client(gateway: Running) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=20) as client:
        yield client


def user(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


# ------------------------------------------------------------------------------------------------------------------- chat


def test_a_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="tide-1", messages=user("one two three"))
    assert answer.model == "tide-1"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == WORDS
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        3,
        8,
        11,
    )
    assert answer._request_id is not None
    assert answer._request_id.startswith("req_")


def test_a_streamed_chat_with_its_usage(client: OpenAI) -> None:
    text, usage = "", None
    for event in client.chat.completions.create(
        model="tide-1", messages=user("one two"), stream=True, stream_options={"include_usage": True}
    ):
        for choice in event.choices:
            text += choice.delta.content or ""
        usage = event.usage or usage
    assert text == WORDS
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (2, 8)


@pytest.mark.anyio
async def test_a_streamed_chat_without_blocking(async_client: AsyncOpenAI) -> None:
    stream = await async_client.chat.completions.create(model="tide-1", messages=user("hi"), stream=True)
    assert "".join([event.choices[0].delta.content or "" async for event in stream]) == WORDS


def test_the_stream_helper_gathers_the_answer(client: OpenAI) -> None:
    with client.chat.completions.stream(model="tide-1", messages=user("hi")) as stream:
        kinds = {event.type for event in stream}
        answer = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert answer.choices[0].message.content == WORDS


def test_several_choices_the_same_for_the_same_seed(client: OpenAI) -> None:
    first, second = (
        client.chat.completions.create(model="tide-1", messages=user("hi"), n=3, seed=42) for _ in range(2)
    )
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    assert first.choices == second.choices


def test_the_probabilities_of_tokens(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tide-1", messages=user("hi"), logprobs=True, top_logprobs=1
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert "".join(token.token for token in logprobs.content) == WORDS
    assert all(token.top_logprobs[0].logprob == token.logprob for token in logprobs.content)


TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CALLS_A_TOOL = """[[scripted tool=weather arguments='{"city":"Zürich"}' tokens=5]]"""


def test_a_tool_is_called_and_its_result_taken(client: OpenAI, engine: ScriptedServer) -> None:
    words = user(f"What is the weather? {CALLS_A_TOOL}")
    answer = client.chat.completions.create(model="tide-1", messages=words, tools=[TOOL], tool_choice="auto")
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Zürich"})

    words = user("What is the weather?")
    words.append(answer.choices[0].message.to_dict())  # type: ignore[arg-type]
    words.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
    assert client.chat.completions.create(model="tide-1", messages=words).choices[0].message.content == WORDS
    heard = engine.record.entries[-1].fields["messages"]
    assert heard[1]["tool_calls"][0]["id"] == heard[2]["tool_call_id"] == call.id


def test_a_streamed_tool_call(client: OpenAI) -> None:
    with client.chat.completions.stream(model="tide-1", messages=user(CALLS_A_TOOL), tools=[TOOL]) as stream:
        (call,) = stream.get_final_completion().choices[0].message.tool_calls or []
    assert (call.function.name, call.function.parsed_arguments) == ("weather", {"city": "Zürich"})


class Tide(BaseModel):
    height_m: float
    places: list[str]


def test_structured_output(client: OpenAI, engine: ScriptedServer) -> None:
    words = user("""[[scripted text='{"height_m": 1.50, "places": ["Genève"]}' tokens=6]]""")
    answer = client.chat.completions.parse(model="tide-1", messages=words, response_format=Tide)
    assert answer.choices[0].message.parsed == Tide(height_m=1.5, places=["Genève"])
    asked = engine.record.entries[-1].fields["response_format"]
    assert asked["json_schema"]["schema"]["properties"].keys() == {"height_m", "places"}

    with client.chat.completions.stream(model="tide-1", messages=words, response_format=Tide) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == Tide(
            height_m=1.5, places=["Genève"]
        )


def test_an_image_in_the_question(client: OpenAI, engine: ScriptedServer) -> None:
    url = "data:image/png;base64," + base64.b64encode(b"\x89PNG" * 20_000).decode()
    parts: Any = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    answer = client.chat.completions.create(model="tide-1", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == WORDS
    assert engine.record.entries[-1].path == "/v1/chat/completions"


def test_reasoning_and_refusals_and_cached_tokens(client: OpenAI) -> None:
    text = reasoning = ""
    for event in client.chat.completions.create(
        model="tide-1", messages=user("[[scripted reasoning=3]]"), stream=True, reasoning_effort="low"
    ):
        text += event.choices[0].delta.content or ""
        reasoning += getattr(event.choices[0].delta, "reasoning_content", None) or ""
    assert text == WORDS
    assert reasoning

    answer = client.chat.completions.create(
        model="tide-1", messages=user("[[scripted refusal='I would not.']]")
    )
    assert answer.choices[0].message.refusal == "I would not."

    answer = client.chat.completions.create(
        model="tide-1", messages=user("[[scripted prompt_tokens=2048 cached_tokens=1920]]")
    )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 1920


# ------------------------------------------------------------------------------------- completions, embeddings and models


def test_a_completion(client: OpenAI) -> None:
    answer = client.completions.create(model="tide-1", prompt="Once", n=2, logprobs=1)
    assert [choice.text for choice in answer.choices] == [WORDS, WORDS]
    pieces = [
        event.choices[0].text
        for event in client.completions.create(model="tide-1", prompt="Once", stream=True)
    ]
    assert "".join(pieces) == WORDS


def test_embeddings(client: OpenAI, engine: ScriptedServer) -> None:
    """The SDK asks for base64 by itself and unpacks it."""
    answer = client.embeddings.create(model="tide-1", input=["salt", "water"], dimensions=8)
    assert engine.record.entries[-1].fields["encoding_format"] == "base64"
    assert [len(item.embedding) for item in answer.data] == [8, 8]
    plain = client.embeddings.create(model="tide-1", input="salt", dimensions=8, encoding_format="float")
    packed = struct.unpack("<8f", struct.pack("<8f", *plain.data[0].embedding))
    assert answer.data[0].embedding == pytest.approx(list(packed))


def test_models_are_listed_and_found(client: OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"tide-1", "org/tide-2:latest"}
    found = client.models.retrieve("org/tide-2:latest")
    assert (found.id, found.object) == ("org/tide-2:latest", "model")
    assert client.models.retrieve("ft-anything").id == "ft-anything"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_any_listed_model_can_be_asked(client: OpenAI) -> None:
    for model in ("tide-1", "org/tide-2:latest", "ft-mine"):
        assert client.chat.completions.create(model=model, messages=user("hi")).model == model


# ----------------------------------------------------------------------------------------------------------------- errors


def test_a_model_that_is_not_there(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nothing", messages=user("hi"))
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.type == "invalid_request_error"
    assert "tide-1" in caught.value.message


def test_a_wrong_value_is_named(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tide-1", messages=user("hi"), temperature="hot")  # type: ignore[call-overload]
    assert (caught.value.param, caught.value.code) == ("temperature", "invalid_request")
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tide-1", messages=[{"content": "hi"}])  # type: ignore[list-item]
    assert caught.value.param == "messages[0].role"


def test_an_engines_internal_is_refused_by_name(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tide-1", messages=user("hi"), extra_body={"cache_salt": "x"})
    assert caught.value.param == "cache_salt"


@pytest.mark.parametrize(
    ("marker", "kind", "status"),
    [
        ("fault=error_status status=400", openai.BadRequestError, 400),
        ("fault=error_status status=422", openai.UnprocessableEntityError, 422),
        ("fault=error_status status=401", openai.InternalServerError, 502),
        ("fault=error_status status=500", openai.InternalServerError, 502),
        ("fault=error_status status=503", openai.InternalServerError, 503),
        ("fault=reset@0", openai.InternalServerError, 502),
    ],
)
def test_an_engines_error_is_an_error_of_its_class(
    client: OpenAI, marker: str, kind: type[openai.APIStatusError], status: int
) -> None:
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model="tide-1", messages=user(f"[[scripted {marker}]]"))
    assert caught.value.status_code == status
    assert caught.value.request_id is not None


def test_a_stream_that_breaks_raises(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="tide-1", messages=user("[[scripted fault=close@4 itl=5]]"), stream=True
    )
    text = ""
    with pytest.raises(openai.APIError) as caught:  # noqa: PT012 - it raises only after some events
        for event in stream:
            text += event.choices[0].delta.content or ""
    assert text
    assert WORDS.startswith(text)
    assert not isinstance(caught.value, openai.APIConnectionError)


def test_what_may_succeed_is_tried_again_and_what_cannot_is_not(
    gateway: Running, engine: ScriptedServer
) -> None:
    def requests(marker: str, model: str = "tide-1") -> int:
        before = engine.record.requests
        with (
            OpenAI(base_url=gateway.base_url, api_key="any", max_retries=2, timeout=20) as client,
            pytest.raises(openai.APIStatusError),
        ):
            client.chat.completions.create(model=model, messages=user(f"[[scripted {marker}]]"))
        return engine.record.requests - before

    assert requests("fault=error_status status=500") == 3
    assert requests("fault=error_status status=501") == 1  # a 5xx that the SDK would try again by itself
    assert requests("fault=error_status status=400") == 1
    assert requests("", model="nothing") == 0


def test_a_client_that_times_out_frees_the_engine(gateway: Running, engine: ScriptedServer) -> None:
    """Its time begins to run when the engine works, however long the way there took."""
    before = engine.record.cancelled

    def on_step(name: str, _: object) -> None:
        if name == "http11.receive_response_headers.started":
            eventually(lambda: engine.record.in_flight == 1, "the engine works")

    with (
        httpx2.Client(
            timeout=httpx2.Timeout(PATIENCE_S, read=0.2),
            event_hooks={"request": [lambda request: request.extensions.update(trace=on_step)]},
        ) as http,
        OpenAI(
            base_url=gateway.base_url, api_key="any", max_retries=0, timeout=http.timeout, http_client=http
        ) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        client.chat.completions.create(model="tide-1", messages=user("[[scripted ttft=60000]]"))
    eventually(lambda: engine.record.cancelled == before + 1, "the engine is told")


def test_a_stream_closed_early_frees_the_engine(client: OpenAI, engine: ScriptedServer) -> None:
    before = engine.record.cancelled
    with client.chat.completions.create(
        model="tide-1", messages=user("[[scripted itl=60000]]"), stream=True
    ) as stream:
        next(iter(stream))
    eventually(lambda: engine.record.cancelled == before + 1, "the engine is told")
