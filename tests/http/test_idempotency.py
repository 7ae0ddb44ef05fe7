"""Idempotency keys over real sockets: with the `openai` package, in browsers, and in the description of the API."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import openai
import pytest
from canned import canned, whole
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam
from serving import Running, ask, config_to, run_gateway
from talking import CHAT, ENDPOINTS, NEEDED, body_of

from tidegate.engines.scripted.server import ScriptedServer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("idle")]


def user(marker: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": f"[[scripted {marker}]]"}]


def asked(engine: ScriptedServer) -> int:
    """The number of the engine's calls, probes left out."""
    return sum(not entry.path.endswith("/models") for entry in engine.record.entries)


def client_of(gateway: Running) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=20)


async def test_five_clients_with_one_key_get_one_answer(engine: ScriptedServer, gateway: Running) -> None:
    before, key = asked(engine), {"Idempotency-Key": str(uuid4())}

    async def create() -> tuple[str, str | None]:
        async with client_of(gateway) as client:
            answer = await client.chat.completions.with_raw_response.create(
                model="m", messages=user("ttft=2000 tokens=5"), extra_headers=key
            )
            return answer.headers["x-tidegate-idempotency"], answer.parse().id

    found = await asyncio.gather(*(create() for _ in range(5)))
    assert len({answer for _, answer in found}) == 1
    assert sorted(how for how, _ in found) == ["joined"] * 4 + ["new"]
    assert (await create())[0] == "replayed"
    assert asked(engine) == before + 1


async def test_streams_too_and_one_that_leaves_hurts_nobody(engine: ScriptedServer, gateway: Running) -> None:
    before, key = asked(engine), {"Idempotency-Key": str(uuid4())}
    began, left, reading = asyncio.Event(), asyncio.Event(), asyncio.Semaphore(0)

    async def leave() -> None:
        async with client_of(gateway) as client:
            events = await client.chat.completions.create(
                model="m", messages=user("itl=200 tokens=15"), stream=True, extra_headers=key
            )
            await anext(aiter(events))
            began.set()
            for _ in range(4):
                await reading.acquire()
            await events.close()
            left.set()

    async def read() -> list[str]:
        await began.wait()
        found: list[str] = []
        async with client_of(gateway) as client:
            events = await client.chat.completions.create(
                model="m", messages=user("itl=200 tokens=15"), stream=True, extra_headers=key
            )
            async for event in events:
                found.append(event.model_dump_json())
                if len(found) == 1:
                    reading.release()
                    await left.wait()
        return found

    leaving = asyncio.create_task(leave())
    found = await asyncio.gather(*(read() for _ in range(4)))
    await leaving
    assert len(found[0]) >= 15
    assert all(one == found[0] for one in found)
    assert await read() == found[0]
    assert asked(engine) == before + 1


async def test_a_reused_key_is_an_unprocessable_entity(gateway: Running) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    async with client_of(gateway) as client:
        await client.chat.completions.create(model="m", messages=user("tokens=1"), extra_headers=key)
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            await client.chat.completions.create(model="m", messages=user("tokens=2"), extra_headers=key)
        assert caught.value.code == "idempotency_key_reused"


async def test_embeddings_and_completions_too(engine: ScriptedServer, gateway: Running) -> None:
    before, key = asked(engine), {"Idempotency-Key": str(uuid4())}
    async with client_of(gateway) as client:
        first = [await client.embeddings.create(model="m", input="a", extra_headers=key) for _ in range(2)]
        assert first[0].model_dump_json() == first[1].model_dump_json()
        with pytest.raises(openai.UnprocessableEntityError):
            await client.completions.create(model="m", prompt="a", extra_headers=key)
        other = {"Idempotency-Key": str(uuid4())}
        second = [
            await client.completions.create(model="m", prompt="a", extra_headers=other) for _ in range(2)
        ]
        assert second[0].id == second[1].id
    assert asked(engine) == before + 2


async def test_the_api_describes_the_header(gateway: Running) -> None:
    described = (await asyncio.to_thread(ask, f"{gateway.url}/openapi.json", method="GET")).json
    for endpoint in ENDPOINTS:
        operation = described["paths"][f"/v1/{endpoint}"]["post"]
        assert "idempotency-key" in [one["name"] for one in operation["parameters"]]
        assert "idempotency_key_reused" in operation["responses"]["422"]["description"]


def test_pages_of_other_origins_may_use_it() -> None:
    server, origin = {"cors_origins": ["https://app.example"]}, {"origin": "https://app.example"}
    asking = {"access-control-request-method": "POST", "access-control-request-headers": "idempotency-key"}
    answer = whole(b'{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}')
    with canned(answer) as engine, run_gateway(config_to(engine.base_url, server=server)) as gateway:
        url = f"{gateway.base_url}/{CHAT}"
        allowed = ask(url, headers=origin | asking, method="OPTIONS")
        found = ask(url, body_of(NEEDED[CHAT]), origin | {"idempotency-key": "a"})
    assert "idempotency-key" in allowed.headers["access-control-allow-headers"].lower()
    assert found.headers["x-tidegate-idempotency"] == "new"
    assert "x-tidegate-idempotency" in found.headers["access-control-expose-headers"]
    [heard] = engine.heard
    assert b"idempotency-key" not in heard.headers
