"""SIGTERM: nobody is refused during the grace period, nobody is cut before the deadline, nobody is lied to after it."""

from __future__ import annotations

import asyncio
import signal

import httpx2
import pytest
from openai import APIError, AsyncOpenAI
from serving import PATIENCE_S, Process, config_to, eventually, serve

from tidegate.engines.scripted.script import Script
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread

STREAMS = 200
LONG_S = 60
"""Of grace or of deadline, where neither is to end in the test: its own limit is no longer."""
CALL = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def client(process: Process) -> AsyncOpenAI:
    """The official client without retries, so that every refusal shows."""
    return AsyncOpenAI(base_url=process.base_url, api_key="-", max_retries=0, timeout=60)


async def stream(openai: AsyncOpenAI, marker: str, begun: list[str]) -> tuple[int, str | None]:
    """Tokens and finish reason of one streamed answer; `begun` gets an entry when the first of it is there."""
    tokens, finish = 0, None
    answer = await openai.chat.completions.create(
        model="m", stream=True, messages=[{"role": "user", "content": f"[[scripted {marker}]]"}]
    )
    begun.append(marker)
    async for chunk in answer:
        tokens += bool(chunk.choices and chunk.choices[0].delta.content)
        finish = (chunk.choices[0].finish_reason if chunk.choices else None) or finish
    return tokens, finish


async def start(openai: AsyncOpenAI, marker: str) -> list[asyncio.Task[tuple[int, str | None]]]:
    """So many streams, once all of them have begun."""
    begun: list[str] = []
    streams = [asyncio.create_task(stream(openai, marker, begun)) for _ in range(STREAMS)]
    async with asyncio.timeout(PATIENCE_S):
        while len(begun) < STREAMS:
            await asyncio.sleep(0.01)
    return streams


@pytest.mark.anyio
async def test_two_hundred_streams_end_whole_and_new_calls_are_served_during_the_grace() -> None:
    with run_in_thread(ScriptedServer(script=Script(tokens=2))) as engine:
        settings = {"drain_grace_s": LONG_S, "drain_deadline_s": LONG_S}
        with serve(config_to(engine.base_url, server=settings)) as process:
            async with client(process) as openai:
                streams = await start(openai, "itl=200 tokens=20")
                process.signal(signal.SIGTERM)
                await asyncio.to_thread(process.wait_for_log, "draining")
                # Each on a connection of its own, as a load balancer's next clients would be.
                for _ in range(5):
                    async with httpx2.AsyncClient(timeout=PATIENCE_S) as newcomer:
                        answer = await newcomer.post(f"{process.base_url}/chat/completions", json=CALL)
                        assert answer.status_code == 200
                        ready = await newcomer.get(f"{process.url}/readyz")
                        assert (ready.status_code, ready.json()["status"]) == (503, "draining")
                assert await asyncio.gather(*streams) == [(20, "stop")] * STREAMS
            process.signal(signal.SIGTERM)  # the rest of the grace is not waited for
            assert await asyncio.to_thread(process.wait) == 0
            with pytest.raises(httpx2.ConnectError):
                httpx2.get(f"{process.url}/healthz")


@pytest.mark.anyio
async def test_what_runs_past_the_deadline_ends_in_an_error_event() -> None:
    with run_in_thread(ScriptedServer(script=Script())) as engine:
        settings = {"drain_grace_s": 0.1, "drain_deadline_s": 0.5}
        with serve(config_to(engine.base_url, server=settings)) as process:
            async with client(process) as openai:
                streams = await start(openai, "itl=100 tokens=600")
                process.signal(signal.SIGTERM)
                ends = await asyncio.gather(*streams, return_exceptions=True)
            assert all(isinstance(end, APIError) for end in ends), ends[:3]
            assert {getattr(end, "code", None) for end in ends} == {"overloaded"}
            assert await asyncio.to_thread(process.wait) == 0
            eventually(lambda: engine.record.in_flight == 0, "the engine to be free")


@pytest.mark.anyio
async def test_a_second_signal_does_not_wait() -> None:
    with run_in_thread(ScriptedServer(script=Script())) as engine:
        settings = {"drain_grace_s": LONG_S, "drain_deadline_s": LONG_S}
        with serve(config_to(engine.base_url, server=settings)) as process:
            process.signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait_for_log, "draining")
            process.signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait) == 0
