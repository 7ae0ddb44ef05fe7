from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tidegate.engines.scripted.script import Fault, Script
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with run_in_thread(
        ScriptedServer(script=Script(text="The tide comes in and goes out.", tokens=8))
    ) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: ScriptedServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.base_url, api_key="key", max_retries=0, timeout=20) as client:
        yield client


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def chat(client: OpenAI, marker: str = "", *, said: list[str] | None = None, **more: Any) -> Any:
    """The last event of a streamed answer; what is said goes to `said` as it comes."""
    event = None
    for event in client.chat.completions.create(model="m", messages=user(marker), stream=True, **more):
        if said is not None and event.choices:
            said.append(event.choices[0].delta.content or "")
    return event


# -------------------------------------------------------------------------------------------------------------- answers


def test_a_whole_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="any-model", messages=user("three words here"))
    assert answer.model == "any-model"
    assert answer.choices[0].message.content == "The tide comes in and goes out."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        3,
        8,
        11,
    )


@pytest.mark.parametrize(
    "form",
    [
        "",
        "crlf=1",
        "comment=1",
        "multiline=1",
        "slice=7",
        "slice=1",
        "burst=1",
        "framing=close",
        "early=1",
        "fault=slow_headers drip=0",
        "crlf=1 comment=1 multiline=1 slice=3 burst=1",
    ],
)
def test_a_streamed_answer_in_every_form(client: OpenAI, form: str) -> None:
    said: list[str] = []
    last = chat(client, f"one two [[scripted {form}]]", said=said, stream_options={"include_usage": True})
    assert "".join(said) == "The tide comes in and goes out."
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (2, 8)


def test_a_tool_call(client: OpenAI) -> None:
    marker = '[[scripted tool=weather arguments=\'{"city": "Kraków"}\' tokens=5]]'
    with client.chat.completions.stream(model="m", messages=user(marker)) as stream:
        streamed = stream.get_final_completion().choices[0]
    whole = client.chat.completions.create(model="m", messages=user(marker)).choices[0]
    for choice in (streamed, whole):
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls is not None
        [call] = choice.message.tool_calls
        assert (call.id, call.function.name) == ("call_0_0", "weather")
        assert json.loads(call.function.arguments) == {"city": "Kraków"}


def test_choices_logprobs_reasoning_and_refusals(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="m", messages=user("[[scripted reasoning=2 tokens=3]]"), n=2, logprobs=True, top_logprobs=1
    )
    assert len(answer.choices) == 2
    assert answer.choices[0].logprobs is not None
    assert len(answer.choices[0].logprobs.content or ()) == 3
    assert answer.choices[0].message.model_extra is not None
    assert answer.choices[0].message.model_extra["reasoning_content"]
    refused = client.chat.completions.create(model="m", messages=user("[[scripted refusal=no]]"))
    assert (refused.choices[0].message.refusal, refused.choices[0].message.content) == ("no", None)


def test_completions_and_embeddings_and_models(client: OpenAI) -> None:
    whole = client.completions.create(model="m", prompt=["a", "b"], max_tokens=3, logprobs=1)
    assert [choice.finish_reason for choice in whole.choices] == ["length", "length"]
    events = client.completions.create(model="m", prompt="a", stream=True)
    assert "".join(event.choices[0].text for event in events) == "The tide comes in and goes out."
    vectors = client.embeddings.create(model="m", input=["a", "b"], dimensions=4)
    assert [len(one.embedding) for one in vectors.data] == [4, 4]
    assert [model.id for model in client.models.list()] == ["scripted"]


def test_bad_requests(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="colour"):
        chat(client, "[[scripted colour=red]]")
    with pytest.raises(openai.BadRequestError, match="request body"):
        client.chat.completions.create(model="m", messages=[], n=1000)
    with pytest.raises(openai.NotFoundError):
        client.audio.speech.create(model="m", voice="alloy", input="x")


# --------------------------------------------------------------------------- faults: what the SDK makes of each, unhelped


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("close", openai.APIConnectionError),
        ("reset", openai.APIConnectionError),
        ("truncated_body", openai.APIConnectionError),
        ("error_event", openai.APIError),
        ("cut_json", json.JSONDecodeError),
        ("cut_utf8", UnicodeDecodeError),
    ],
)
@pytest.mark.parametrize("place", [1, 5])
def test_a_fault_breaks_a_stream_off(client: OpenAI, fault: str, error: type[Exception], place: int) -> None:
    said: list[str] = []
    with pytest.raises(error) as caught:
        chat(client, f"[[scripted text=12345678 fault={fault}@{place}]]", said=said)
    assert type(caught.value) is error
    assert "".join(said) == "12345678"[:place]


@pytest.mark.parametrize("fault", ["close", "reset"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_connection_lost_before_the_first_byte(client: OpenAI, fault: str, stream: bool) -> None:
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(
            model="m", messages=user(f"[[scripted fault={fault}@0]]"), stream=stream
        )


@pytest.mark.parametrize("place", ["", "@0"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_stall_runs_into_the_timeout(client: OpenAI, place: str, stream: bool) -> None:
    marker = user(f"[[scripted fault=stall{place}]]")
    hasty = client.with_options(timeout=0.2)
    with pytest.raises(openai.APITimeoutError):
        list(hasty.chat.completions.create(model="m", messages=marker, stream=stream))


@pytest.mark.parametrize(
    ("fault", "finish"),
    [("missing_done", "stop"), ("double_done", "stop"), ("no_finish", None), ("close framing=close", None)],
)
def test_faults_that_the_sdk_does_not_see(client: OpenAI, fault: str, finish: str | None) -> None:
    last = chat(client, f"[[scripted fault={fault}]]")
    assert last.choices[0].finish_reason == finish


def test_garbage_is_an_empty_stream_to_the_sdk(client: OpenAI) -> None:
    assert chat(client, "[[scripted fault=garbage]]") is None
    raw = client.chat.completions.with_raw_response.create(
        model="m", messages=user("[[scripted fault=garbage]]")
    )
    assert raw.headers["content-type"] == "text/html"


@pytest.mark.parametrize(
    ("options", "error", "wait"),
    [("", openai.InternalServerError, "1"), ("status=429 retry_after=7", openai.RateLimitError, "7")],
)
def test_error_status(client: OpenAI, options: str, error: type[openai.APIStatusError], wait: str) -> None:
    with pytest.raises(error, match="scripted failure") as caught:
        chat(client, f"[[scripted fault=error_status {options}]]")
    assert caught.value.response.headers["retry-after"] == wait


@pytest.mark.parametrize("fault", ["close", "reset", "truncated_body"])
def test_a_whole_answer_breaks_off(client: OpenAI, fault: str) -> None:
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="m", messages=user(f"[[scripted fault={fault}]]"))


# ----------------------------------------------------------------------------------------------------------- the record


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def own() -> Any:
    server = ScriptedServer(script=Script(tokens=8), slots=5)
    await server.start()
    yield server
    await server.stop()


def ask(client: AsyncOpenAI, marker: str) -> Any:
    return client.chat.completions.create(model="m", messages=user(marker), stream=True)


@pytest.mark.anyio
async def test_concurrency_delivery_and_leaving_are_counted_exactly(own: ScriptedServer) -> None:
    record = own.record
    async with AsyncOpenAI(base_url=own.base_url, api_key="key", max_retries=0) as client:
        streams = [await ask(client, "[[scripted fault=stall@3]]") for _ in range(5)]
        await until(lambda: record.delivered_tokens == 15)
        assert (record.in_flight, record.max_in_flight, record.cancelled) == (5, 5, 0)
        with pytest.raises(openai.InternalServerError) as caught:
            await ask(client, "one too many")
        assert caught.value.response.headers["retry-after"] == "1"
        left_at = time.monotonic()
        for stream in streams[:2]:
            await stream.close()
        await until(lambda: record.cancelled == 2)
        assert (record.in_flight, record.max_in_flight) == (3, 5)
        assert all(left_at <= noticed_at <= left_at + 5 for noticed_at in record.cancelled_at)
        assert [event async for event in await ask(client, "and again")]
        assert record.outcomes["finished"] == record.outcomes["refused"] == 1
        assert (record.requests, record.delivered_tokens) == (7, 15 + 8)
        record.reset()
        assert (record.requests, record.in_flight, record.max_in_flight, len(record.entries)) == (0, 3, 3, 0)
        for stream in streams[2:]:
            await stream.close()


@pytest.mark.anyio
async def test_each_request_leaves_an_entry(own: ScriptedServer) -> None:
    async with AsyncOpenAI(base_url=own.base_url, api_key="key", max_retries=0) as client:
        assert [event async for event in await ask(client, "hello")]
        with pytest.raises(openai.APIError):
            assert [event async for event in await ask(client, "[[scripted fault=error_event@2]]")]
        with pytest.raises(openai.BadRequestError):
            await ask(client, "[[scripted oops]]")
    first, second, third = own.record.entries
    assert (first.number, first.path, first.outcome, first.fault) == (
        1,
        "/v1/chat/completions",
        "finished",
        "none",
    )
    assert first.headers["authorization"] == "Bearer key"
    assert first.fields == {"model": "m", "messages": user("hello"), "stream": True}
    assert first.first_token_at is not None
    assert first.ended_at is not None
    assert first.received_at <= first.first_token_at <= first.ended_at
    assert (second.outcome, second.fault, second.delivered) == ("faulted", "error_event", 2)
    assert (third.outcome, third.delivered) == ("rejected", 0)


def fetch(server: ScriptedServer, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_the_record_over_http() -> None:
    with run_in_thread(ScriptedServer(script=Script(tokens=2))) as server:
        body = b'{"model":"m","prompt":"x","stream":false}'
        for _ in range(3):
            assert fetch(server, "POST", "/v1/completions", body)[0] == 200
        assert fetch(server, "POST", "/v1/completions", b'{"model": nonsense')[0] == 400
        _, told = fetch(server, "GET", "/record")
        assert (told["requests"], told["finished"], told["rejected"], told["delivered_tokens"]) == (
            4,
            3,
            1,
            6,
        )
        assert (told["in_flight"], told["max_in_flight"], told["cancelled"]) == (0, 1, 0)
        assert told["entries"][0]["body"] == {"model": "m", "prompt": "x", "stream": False}
        assert told["entries"][3]["body"] is None
        assert fetch(server, "DELETE", "/record")[1]["requests"] == 0
        assert fetch(server, "GET", "/health") == (200, {"status": "ok"})
        assert fetch(server, "GET", "/v1/completions")[0] == 405
        assert fetch(server, "GET", "/elsewhere")[0] == 404


@pytest.mark.anyio
async def test_a_long_answer_waits_for_its_reader(own: ScriptedServer) -> None:
    own.script = Script(tokens=100_000)
    reader, writer = await asyncio.open_connection(*own.url.removeprefix("http://").split(":"))
    body = b'{"messages":[],"stream":true}'
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )
    await reader.readuntil(b"\r\n\r\n")
    delivered, quiet_turns = -1, 0
    while quiet_turns < 100:  # turns of the loop that bring nothing more: all buffers are full
        await asyncio.sleep(0)
        quiet_turns = quiet_turns + 1 if delivered == own.record.delivered_tokens else 0
        delivered = own.record.delivered_tokens
    assert 0 < delivered < 100_000
    writer.transport.abort()
    await until(lambda: own.record.cancelled == 1)


@pytest.mark.anyio
async def test_pipelined_requests_are_answered_in_order(own: ScriptedServer) -> None:
    reader, writer = await asyncio.open_connection(*own.url.removeprefix("http://").split(":"))
    for text in (b"one", b"two", b"three"):
        body = b'{"prompt":"[[scripted text=%b tokens=1]]"}' % text
        writer.write(
            b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
    for text in (b"one", b"two", b"three"):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        assert b'"text":"%b"' % text in await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    assert own.record.max_in_flight == 1


@pytest.mark.anyio
async def test_stopping_cuts_what_is_in_flight() -> None:
    server = ScriptedServer(script=Script(fault=Fault.STALL, fault_at=1))
    await server.start()
    async with AsyncOpenAI(base_url=server.base_url, api_key="key", max_retries=0) as client:
        stream = await ask(client, "hello")
        await anext(aiter(stream))
        await server.stop()
        with pytest.raises(openai.APIConnectionError):
            assert [event async for event in stream]
    assert (server.record.in_flight, server.record.outcomes["stopped"], server.record.open_connections) == (
        0,
        1,
        0,
    )
