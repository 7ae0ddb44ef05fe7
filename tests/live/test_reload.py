"""A new configuration under load: no call notices, no unchanged engine restarts, a bad file changes nothing."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI
from serving import PATIENCE_S, Process, eventually, serve

from tidegate.engines.scripted.script import Script
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread

STREAMS = 200
TOKENS = 30


def config(engine_url: str, **more: Any) -> str:
    """Two engines that never change between the reloads of these tests, and whatever is asked for."""
    tree: dict[str, Any] = {
        "server": {"port": 0, "drain_grace_s": 1.0, **more.pop("server", {})},
        "admin": {"token": "let-me-in"},
        "engines": {"upstream": {"kind": "openai", "url": engine_url}, **more.pop("engines", {})},
        "models": {"m": {"deployments": [{"engine": "upstream"}]}, **more.pop("models", {})},
    }
    return json.dumps(tree | more)


async def stream(client: AsyncOpenAI, prompt: str, begun: list[str]) -> int:
    """How many tokens one whole streamed answer had; `begun` gets an entry when it begins."""
    words = 0
    answer = await client.chat.completions.create(
        model="m", stream=True, messages=[{"role": "user", "content": prompt}]
    )
    begun.append(prompt)
    async for chunk in answer:
        words += bool(chunk.choices and chunk.choices[0].delta.content)
    return words


async def while_streaming(process: Process, work: AsyncIterator[None]) -> list[int | BaseException]:
    """Run `work` once 200 streams run through the gateway, and to their end."""
    begun: list[str] = []
    async with AsyncOpenAI(base_url=process.base_url, api_key="-", max_retries=0, timeout=60) as client:
        marker = f"[[scripted ttft=50 itl=60 tokens={TOKENS}]]"
        streams = [asyncio.create_task(stream(client, marker, begun)) for _ in range(STREAMS)]
        async with asyncio.timeout(PATIENCE_S):
            while len(begun) < STREAMS:
                await asyncio.sleep(0.01)
        async for _ in work:
            pass
        return await asyncio.gather(*streams, return_exceptions=True)


def models(process: Process) -> list[str]:
    """What the gateway says it serves."""
    return [
        model["id"] for model in httpx2.get(f"{process.url}/v1/models", timeout=PATIENCE_S).json()["data"]
    ]


def reloads(process: Process, result: str) -> float:
    """How many reloads ended so."""
    line = f'tidegate_config_reloads_total{{result="{result}"}} '
    page = httpx2.get(f"{process.url}/metrics", timeout=PATIENCE_S).text
    return float(page.split(line)[1].split("\n")[0])


@pytest.mark.anyio
async def test_three_reloads_under_two_hundred_streams_break_none() -> None:
    with run_in_thread(ScriptedServer(script=Script())) as engine:
        text = config(engine.base_url)
        with serve(text) as process:

            def with_model(name: str) -> str:
                return config(engine.base_url, models={name: {"deployments": [{"engine": "upstream"}]}})

            async def three_ways() -> AsyncIterator[None]:
                yield
                process.rewrite(with_model("by-file"))
                await asyncio.to_thread(eventually, lambda: "by-file" in models(process), "the file's model")
                yield
                process.rewrite(with_model("by-signal"))
                process.signal(signal.SIGHUP)
                await asyncio.to_thread(eventually, lambda: "by-signal" in models(process), "the signal's")
                yield
                process.rewrite(with_model("by-call"))
                authorization = {"authorization": "Bearer let-me-in"}
                async with httpx2.AsyncClient(timeout=PATIENCE_S) as client:
                    answer = await client.post(f"{process.url}/admin/reload", headers=authorization)
                assert answer.status_code == 200, answer.text
                assert "by-call" in models(process)

            results = await while_streaming(process, three_ways())
            assert results == [TOKENS] * STREAMS
            assert engine.record.requests == STREAMS
            assert engine.record.cancelled == 0


@pytest.mark.anyio
async def test_a_bad_file_changes_nothing_and_says_why() -> None:
    with run_in_thread(ScriptedServer(script=Script())) as engine, serve(config(engine.base_url)) as process:

        async def spoil() -> AsyncIterator[None]:
            yield
            process.rewrite("engines: {upstream: {kind: openai, urll: x}}\nmodels: {m: {deployments: []}}\n")
            await asyncio.to_thread(process.wait_for_log, "did you mean 'url'")
            yield
            process.rewrite("models: [")
            await asyncio.to_thread(process.wait_for_log, "not valid YAML")

        assert await while_streaming(process, spoil()) == [TOKENS] * STREAMS
        assert models(process) == ["m"]
        assert reloads(process, "refused") >= 2
        assert reloads(process, "ok") == 0


def test_an_engine_that_does_not_answer_is_not_swapped_in() -> None:
    with run_in_thread(ScriptedServer(script=Script())) as engine, serve(config(engine.base_url)) as process:
        dead = {"kind": "openai", "url": "http://127.0.0.1:9/v1"}
        process.rewrite(config(engine.base_url, engines={"dead": dead}))
        answer = httpx2.post(
            f"{process.url}/admin/reload", headers={"authorization": "Bearer let-me-in"}, timeout=PATIENCE_S
        )
        assert answer.status_code == 422
        assert [problem["path"] for problem in answer.json()["problems"]] == ["engines.dead"]


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "let-me-in"])
def test_reload_wants_the_token(authorization: str | None) -> None:
    with run_in_thread(ScriptedServer(script=Script())) as engine, serve(config(engine.base_url)) as process:
        headers = {"authorization": authorization} if authorization else {}
        answer = httpx2.post(f"{process.url}/admin/reload", headers=headers, timeout=PATIENCE_S)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"


def test_the_log_says_which_file_it_took_and_what_is_doubtful_in_it() -> None:
    doubtful = config("http://127.0.0.1:9")
    with serve(doubtful) as process:
        process.wait_for_log(f"the configuration is {process.config_path.resolve()}\n")
        warning = "engines.upstream.url: http://127.0.0.1:9 names no version of the API"
        assert process.log().count(warning) == 1
        with_one_more = config(
            "http://127.0.0.1:9", models={"two": {"deployments": [{"engine": "upstream"}]}}
        )
        process.rewrite(with_one_more)
        eventually(lambda: process.log().count(warning) == 2, "the warning after the reload")
        process.wait_for_log("engine upstream is not ready: connection refused")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_log_says_that_there_is_no_file(workers: str) -> None:
    with serve(None, args=("--workers", workers)) as process:
        process.wait_for_log("the configuration is the built-in one: no tidegate.yaml here\n")
