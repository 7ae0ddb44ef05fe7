"""The built-in configuration for real: SmolLM2 behind the gateway, through the official SDK."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from openai import APIError, BadRequestError, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from serving import Process, eventually, serve

RESTART = re.compile(r"llama\.cpp .* restart in (\S+) s$", re.MULTILINE)
"""What the gateway says of an engine's death: how long it waits before it starts another."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Process]:
    """One gateway with the built-in configuration for the whole file."""
    with serve(None, args=("--demo",)) as process:
        ready = f"{process.url}/readyz"
        eventually(lambda: httpx2.get(ready).status_code == 200, "readiness")
        yield process


@pytest.fixture
def openai(gateway: Process) -> Iterator[OpenAI]:
    """The official client."""
    with OpenAI(base_url=gateway.base_url, api_key="-", max_retries=0, timeout=120) as client:
        yield client


def engine_pids(gateway: Process) -> list[int]:
    """The child processes of the gateway that run llama.cpp."""
    children = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text("ascii").split()
    return [int(pid) for pid in children if b"embedded/child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def engine_pid(gateway: Process) -> int:
    """The only one of them."""
    (pid,) = engine_pids(gateway)
    return pid


def ask(question: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": question}]


def cached_tokens(openai: OpenAI, system: str, question: str) -> tuple[int, int]:
    """Prompt tokens, and how many of them the engine did not have to read again."""
    messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": system}, *ask(question)]
    answer = openai.chat.completions.create(model="default", messages=messages, max_tokens=2)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    return answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens or 0


def test_it_streams_an_answer_with_usage(openai: OpenAI) -> None:
    text, usage = "", None
    with openai.chat.completions.create(
        model="smollm2-135m-instruct",
        messages=[
            {"role": "system", "content": "You are a helpful assistant. Answer in one short sentence."},
            *ask("What is the capital of France?"),
        ],
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=24,
        temperature=0,
    ) as chunks:
        for chunk in chunks:
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            usage = chunk.usage or usage
    assert "Paris" in text
    assert usage is not None
    assert 0 < usage.completion_tokens <= 24


def test_the_models_are_listed(openai: OpenAI) -> None:
    assert [model.id for model in openai.models.list()] == [
        "all-minilm-l6-v2",
        "default",
        "demo",
        "smollm2-135m-instruct",
    ]


def test_structured_output_fits_its_schema(openai: OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    answer = openai.chat.completions.create(
        model="default",
        messages=ask("Pick a colour."),
        max_tokens=30,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "pick", "schema": schema}},
    )
    assert json.loads(answer.choices[0].message.content or "")["colour"] in ("red", "green")


def test_a_prompt_that_does_not_fit_is_refused_with_the_numbers(openai: OpenAI) -> None:
    with pytest.raises(BadRequestError) as raised:
        openai.chat.completions.create(model="default", messages=ask("tide " * 3000))
    assert raised.value.param == "messages"
    words = (
        r"request \(30\d\d tokens\) exceeds the available context size \(2048 tokens\): "
        r"the context of one call is the setting `context_tokens` divided by `slots`"
    )
    assert re.search(words, raised.value.message)


def test_completions_and_embeddings(openai: OpenAI) -> None:
    completion = openai.completions.create(model="default", prompt="Once upon a time", max_tokens=4)
    assert completion.choices[0].text
    vectors = openai.embeddings.create(model="all-minilm-l6-v2", input=["a cat", "a kitten", "tax law"]).data

    def alike(a: int, b: int) -> float:
        return sum(x * y for x, y in zip(vectors[a].embedding, vectors[b].embedding, strict=True))

    assert alike(0, 1) > alike(0, 2) + 0.2


def test_a_system_prompt_is_read_once_for_all_slots(openai: OpenAI) -> None:
    system = " ".join(
        f"Rule {n}: be brief and kind, and never speak of the number {n * 7}." for n in range(20)
    )
    prompt_tokens, cached = cached_tokens(openai, system, "Hello")
    assert prompt_tokens > 300
    assert cached < 50
    # Five calls on four slots: at least one of them on a slot that never saw the prompt.
    for n in range(5):
        prompt_tokens, cached = cached_tokens(openai, system, f"Question {n}?")
        assert cached > 300, (n, prompt_tokens, cached)


def test_a_killed_engine_ends_its_stream_in_an_error_and_is_started_anew_at_once(
    gateway: Process, openai: OpenAI
) -> None:
    before = engine_pid(gateway)
    assert RESTART.findall(gateway.log()) == []
    chunks = openai.chat.completions.create(
        model="default", messages=ask("Count."), stream=True, max_tokens=1500, extra_body={"ignore_eos": True}
    )
    received = 0
    with pytest.raises(APIError) as raised:  # noqa: PT012 - the kill comes in the middle of what must fail
        for chunk in chunks:
            received += bool(chunk.choices and chunk.choices[0].delta.content)
            if received == 3:
                os.kill(before, signal.SIGKILL)
    assert received >= 3
    assert getattr(raised.value, "code", None) == "engine_error"
    answer = openai.chat.completions.create(model="default", messages=ask("Hello"), max_tokens=1)
    assert answer.choices
    assert engine_pid(gateway) != before
    assert RESTART.findall(gateway.log()) == ["0.00"], "it took one start, and no pause before it"


def test_a_signal_to_every_process_of_the_service_cuts_no_stream() -> None:
    with serve(None) as process, OpenAI(base_url=process.base_url, api_key="-", max_retries=0) as openai:
        child = engine_pid(process)
        received, finish = 0, None
        for chunk in openai.chat.completions.create(
            model="default",
            messages=ask("Count."),
            stream=True,
            max_tokens=60,
            extra_body={"ignore_eos": True},
        ):
            received += 1
            if received == 3:
                for pid in (child, process.pid):
                    os.kill(pid, signal.SIGTERM)
            finish = (chunk.choices[0].finish_reason if chunk.choices else None) or finish
        assert received > 3  # events, not tokens: some tokens have no text
        assert finish == "length"
        process.signal(signal.SIGTERM)  # the rest of the grace is not waited for
        assert process.wait() == 0
        eventually(lambda: not Path(f"/proc/{child}").exists(), "the end of the engine")


def test_reading_the_configuration_again_keeps_the_engine() -> None:
    text = (
        "admin: {token: t}\n"
        "engines: {local: {kind: embedded, slots: 2}}\n"
        "models: {%s: {deployments: [{engine: local}]}}\n"
    )
    with serve(text % "before") as process:
        pid = engine_pid(process)
        process.rewrite(text % "after")
        headers = {"authorization": "Bearer t"}
        assert httpx2.post(f"{process.url}/admin/reload", headers=headers).json()["models"] == ["after"]
        assert engine_pid(process) == pid
        process.rewrite((text % "after").replace("slots: 2", "slots: 1"))
        assert httpx2.post(f"{process.url}/admin/reload", headers=headers, timeout=60).status_code == 200
        # The old one ends with its last call, in the background.
        eventually(lambda: pid not in engine_pids(process), "the end of the old engine")
        assert len(engine_pids(process)) == 1


def test_how_busy_it_is_stands_among_the_metrics(gateway: Process, openai: OpenAI) -> None:
    def told(name: str) -> float:
        page = httpx2.get(f"{gateway.url}/metrics").text
        found = re.findall(rf'^tidegate_engine_{name}{{engine="local"}} (.*)$', page, re.MULTILINE)
        return float(found[0]) if found else -1.0

    eventually(lambda: told("ready") == 1 and told("running") == 0 == told("queued"), "the engine is idle")
    stream = openai.chat.completions.create(
        model="default",
        messages=ask("Count as far as you can."),
        max_tokens=1500,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    with stream:
        next(iter(stream))
        eventually(lambda: told("running") == 1 and 0 < told("kv_usage") < 1, "its one call is seen")


def test_a_stream_is_counted_although_its_client_does_not_ask(openai: OpenAI, gateway: Process) -> None:
    def counted() -> float:
        name = 'tidegate_tokens_total{endpoint="chat/completions",engine="local",kind="completion"'
        page = httpx2.get(f"{gateway.url}/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in page if line.startswith(name))

    before = counted()
    chunks = list(
        openai.chat.completions.create(model="default", messages=ask("Say hello."), max_tokens=5, stream=True)
    )
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert counted() - before == 5
