"""What makes vLLM more than an API: how it refuses, its cache, its load, cancellation, a call's place in line."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec
import openai
import pytest
from openai import OpenAI
from serving import Process, ask, eventually
from vllm_server import MODEL, QUEUED, SLOTS, Vllm

from tidegate.config import VllmConfig
from tidegate.engines.vllm import VllmEngine
from tidegate.errors import UpstreamBusy
from tidegate.types import Ask, Endpoint, Load

AT_ONCE = 20


def long_call(tokens: int, *, model: str = MODEL) -> dict[str, Any]:
    """A request that takes its time, and is no other's."""
    words = f"Tell a long story about the number {uuid.uuid4()}."
    return {
        "model": model,
        "messages": [{"role": "user", "content": words}],
        "max_tokens": tokens,
        "temperature": 0,
        "extra_body": {"ignore_eos": True},
    }


# ------------------------------------------------------------------------------------------------------------ saturation


def many(client: OpenAI, model: str) -> list[int | openai.APIStatusError]:
    """The tokens, or the error, of as many calls at once."""

    def one(_: int) -> int | openai.APIStatusError:
        try:
            usage = client.chat.completions.create(**long_call(24, model=model)).usage
        except openai.APIStatusError as error:
            return error
        return usage.completion_tokens if usage else 0

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE)))


def test_vllms_refusal_is_saturation_and_the_next_call_goes_through(
    client: OpenAI, gateway: Process, say: Callable[[str], None]
) -> None:
    answers = many(client, MODEL)
    refused = [answer for answer in answers if isinstance(answer, openai.APIStatusError)]
    say(
        f"    {AT_ONCE} calls at once, {QUEUED} admitted by vLLM: {AT_ONCE - len(refused)} answers, {len(refused)} refusals"
    )
    # A call may end before the last one arrives.
    assert 0 < len(refused) <= AT_ONCE - QUEUED
    assert {(error.status_code, error.code) for error in refused} == {(503, "engine_overloaded")}
    assert all(int(error.response.headers["retry-after"]) >= 1 for error in refused)
    assert all(answer == 24 for answer in answers if isinstance(answer, int))
    assert ask(f"{gateway.url}/readyz", method="GET").status == 200
    assert client.chat.completions.create(**long_call(3)).choices[0].finish_reason == "length"


def test_a_full_vllm_refuses_a_stream_too_before_it_begins(
    client: OpenAI, gateway: Process, vllm: Vllm
) -> None:
    with busy(client, QUEUED):
        eventually(lambda: vllm.gauge("num_requests_waiting") == QUEUED - SLOTS, "vLLM's queue is full")
        with pytest.raises(openai.InternalServerError) as raised:
            client.chat.completions.create(**long_call(3), stream=True)
        assert ask(f"{gateway.url}/readyz", method="GET").status == 200
    error = raised.value
    assert (error.status_code, error.code) == (503, "engine_overloaded")
    assert int(error.response.headers["retry-after"]) >= 1
    assert client.chat.completions.create(**long_call(3)).choices[0].finish_reason == "length"


def test_a_line_kept_by_the_gateway_loses_none(client: OpenAI) -> None:
    """`max_in_flight` as large as what vLLM admits: the rest waits in the gateway and nobody is refused."""
    assert many(client, "in-line") == [24] * AT_ONCE


# ---------------------------------------------------------------------------------------------------------- prefix cache


def first_token(client: OpenAI, words: str) -> tuple[float, int]:
    """Milliseconds to the first token, and the prompt's tokens that came from the cache."""
    began_at, first, cached = time.perf_counter(), 0.0, 0
    for event in client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": words}],
        max_tokens=4,
        stream=True,
        stream_options={"include_usage": True},
    ):
        first = first or (time.perf_counter() - began_at) * 1000
        if event.usage and event.usage.prompt_tokens_details:
            cached = event.usage.prompt_tokens_details.cached_tokens or 0
    return first, cached


def test_a_prefix_that_was_read_is_not_read_again(
    client: OpenAI, gateway: Process, say: Callable[[str], None]
) -> None:
    book = (
        f"{uuid.uuid4()} "
        + "The tide comes in and the tide goes out, and the boats wait in the harbour. " * 60
    )
    cold_ms, nothing = first_token(client, f"{book} First question?")
    warm_ms, cached = first_token(client, f"{book} Second question?")
    say(
        f"    TTFT {cold_ms:.0f} ms cold, {warm_ms:.0f} ms with {cached} tokens of the prompt from vLLM's cache"
    )
    assert nothing < 128
    assert cached >= 512
    assert warm_ms < cold_ms
    told = ask(f"{gateway.url}/metrics", method="GET").body.decode()
    counted = [
        float(line.rpartition(" ")[2])
        for line in told.splitlines()
        if line.startswith("tidegate_tokens_total{") and 'kind="cached"' in line
    ]
    assert sum(counted) >= cached


# ---------------------------------------------------------------------------------------------------------- cancellation


def until_idle_s(vllm: Vllm) -> float:
    """How long vLLM goes on working."""
    began_at = time.perf_counter()
    eventually(lambda: vllm.gauge("num_requests_running") == 0, "vLLM has stopped")
    return time.perf_counter() - began_at


def test_a_stream_that_its_client_leaves_is_stopped_in_vllm(
    client: OpenAI, vllm: Vllm, say: Callable[[str], None]
) -> None:
    stream = client.chat.completions.create(**long_call(1800), stream=True)
    next(iter(stream))
    assert vllm.gauge("num_requests_running") == 1
    stream.close()
    took_s = until_idle_s(vllm)
    say(f"    vLLM stopped {took_s * 1000:.0f} ms after the client left its stream")
    assert took_s < 1


def test_an_answer_that_its_client_does_not_wait_for_is_stopped_in_vllm(
    gateway: Process, vllm: Vllm, say: Callable[[str], None]
) -> None:
    asked = long_call(1800)
    body = json.dumps(asked | asked.pop("extra_body"))
    parts = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    eventually(lambda: vllm.gauge("num_requests_running") == 1, "vLLM works on it")
    connection.close()
    took_s = until_idle_s(vllm)
    say(f"    vLLM stopped {took_s * 1000:.0f} ms after the client closed its connection")
    assert took_s < 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_is_stopped_in_vllm_at_its_deadline(
    gateway: Process, vllm: Vllm, stream: bool, say: Callable[[str], None]
) -> None:
    asked = long_call(1800) | {"stream": stream}
    body = json.dumps(asked | asked.pop("extra_body"))
    headers = {"content-type": "application/json", "x-tidegate-deadline-ms": "1000"}
    answer = ask(f"{gateway.base_url}/chat/completions", body.encode(), headers)
    took_s = until_idle_s(vllm)
    say(f"    vLLM stopped {took_s * 1000:.0f} ms after the deadline of the call")
    assert answer.status == (200 if stream else 504)
    assert b'"deadline_exceeded"' in answer.body
    assert took_s < 1


# ------------------------------------------------------------------------------------------------------------------ load


class Host:
    """What an engine over HTTP takes of its host."""

    clock = staticmethod(time.monotonic)


@asynccontextmanager
async def adapter(vllm: Vllm) -> AsyncIterator[VllmEngine]:
    """The gateway's own adapter, without a gateway around it."""
    engine = VllmEngine(VllmConfig(kind="vllm", url=vllm.base_url, sends_priority=True))
    await engine.open(Host())  # type: ignore[arg-type]
    try:
        yield engine
    finally:
        await engine.close()


def load_of(vllm: Vllm) -> Load:
    async def main() -> Load:
        async with adapter(vllm) as engine:
            return await engine.load()

    return asyncio.run(main())


@contextmanager
def busy(client: OpenAI, calls: int) -> Iterator[None]:
    """As many calls in vLLM while the block runs; they are left at its end."""
    leave = threading.Event()

    def one() -> None:
        with client.chat.completions.create(**long_call(1800), stream=True) as stream:
            for _ in stream:
                if leave.is_set():
                    return

    with ThreadPoolExecutor(calls) as pool:
        running: list[Future[None]] = [pool.submit(one) for _ in range(calls)]
        try:
            yield
        finally:
            leave.set()
    for call in running:
        with suppress(openai.APIError):
            call.result()


def test_load_is_what_vllm_has_to_do(client: OpenAI, vllm: Vllm, gateway: Process) -> None:
    idle = load_of(vllm)
    assert (idle.running, idle.waiting, idle.kv_usage) == (0, 0, 0.0)
    with busy(client, QUEUED - 1):
        eventually(
            lambda: (load_of(vllm).running, load_of(vllm).waiting) == (SLOTS, QUEUED - 1 - SLOTS),
            "all are there",
        )
        assert 0 < (load_of(vllm).kv_usage or 0) < 1

        def told() -> set[str]:
            return set(ask(f"{gateway.url}/metrics", method="GET").body.decode().splitlines())

        wanted = {
            f'tidegate_engine_running{{engine="gpu"}} {SLOTS}.0',
            f'tidegate_engine_queued{{engine="gpu"}} {QUEUED - 1 - SLOTS}.0',
        }
        eventually(lambda: wanted <= told(), "the gateway's own /metrics say so")


# -------------------------------------------------------------------------------------------------------- a place in line


def asked_for(tokens: int, priority: int) -> Ask:
    asked = long_call(tokens)
    asked |= asked.pop("extra_body") | {"stream": True}
    return Ask(
        uuid.uuid4().hex,
        Endpoint.CHAT,
        MODEL,
        {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in asked.items()},
        [],
        [],
        time.monotonic() + 120,
        stream=True,
        priority=priority,
    )


async def served_at(engine: VllmEngine, tokens: int, priority: int = 0) -> float:
    """When its first token came."""
    first = 0.0
    async for _ in engine.stream(asked_for(tokens, priority)):
        first = first or time.monotonic()
    return first


def test_a_priority_that_the_gateway_gives_moves_a_call_ahead_of_others_that_wait(vllm: Vllm) -> None:
    async def waiting(engine: VllmEngine, running: int, queued: int) -> None:
        async with asyncio.timeout(60):
            while (load := await engine.load()).running != running or load.waiting != queued:
                await asyncio.sleep(0.02)

    async def main() -> tuple[float, list[float]]:
        async with adapter(vllm) as engine, asyncio.TaskGroup() as tasks:
            for index in range(SLOTS):  # they end one after the other
                tasks.create_task(served_at(engine, 80 + 20 * index))
            await waiting(engine, SLOTS, 0)
            late = [tasks.create_task(served_at(engine, 8, priority=5)) for _ in range(2)]
            await waiting(engine, SLOTS, 2)
            early = tasks.create_task(served_at(engine, 8, priority=-5))
            await waiting(engine, SLOTS, 3)
            return await early, [await one for one in late]

    early, late = asyncio.run(main())
    assert early < min(late)


def test_a_class_that_a_request_names_lets_others_go_first(client: OpenAI, vllm: Vllm) -> None:
    """Calls of the class `batch` wait in vLLM, and a later one of the class `default` goes before them."""
    behind = {"x-tidegate-priority": "batch"}

    def first_token_at(tokens: int, headers: Mapping[str, str]) -> float:
        with client.chat.completions.create(
            **long_call(tokens), stream=True, extra_headers=headers
        ) as stream:
            at = [time.monotonic() for _ in stream]
        return at[0]

    def waiting(calls: int) -> None:
        eventually(lambda: vllm.gauge("num_requests_waiting") == calls, "they wait in vLLM")

    with ThreadPoolExecutor(QUEUED) as pool:
        for index in range(SLOTS):  # they end one after the other
            pool.submit(first_token_at, 120 + 20 * index, {})
        eventually(lambda: vllm.gauge("num_requests_running") == SLOTS, "vLLM is full")
        late = [pool.submit(first_token_at, 8, behind) for _ in range(2)]
        waiting(2)
        early = pool.submit(first_token_at, 8, {})
        waiting(3)
        assert early.result() < min(one.result() for one in late)


def test_the_adapter_too_calls_a_full_queue_busy(vllm: Vllm) -> None:
    async def main() -> list[BaseException | float]:
        async with adapter(vllm) as engine:
            calls = (served_at(engine, 24) for _ in range(AT_ONCE))
            return await asyncio.gather(*calls, return_exceptions=True)

    failed = [result for result in asyncio.run(main()) if isinstance(result, BaseException)]
    assert failed
    assert all(isinstance(error, UpstreamBusy) for error in failed)
