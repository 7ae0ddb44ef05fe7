"""Two embedded engines for one model, and kill -9 of one of them under twenty streams."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openai import APIError, AsyncOpenAI
from serving import Process, eventually, serve

from tidegate.engines.embedded.weights import find_smollm2

STREAMS, SLOTS, TOKENS = 20, 4, 12
STARTS = 3
"""A killed engine answers again within so many times its own start."""
NAMES = ("one", "two")
ENDED = re.compile(r"llama\.cpp with (\w+) ended .*; restart in")
STAMP = re.compile(
    r"^\S+ (\d+):(\d+):(\d+),(\d+) INFO .*: (?:the configuration is|engine (\w+) is ready)", re.MULTILINE
)


def configuration(folder: Path) -> str:
    """Two engines with the same weights, under names of their own, so that the log says which one ended."""
    weights, engines = find_smollm2(), dict[str, Any]()
    for name in NAMES:
        path = folder / f"{name}.gguf"
        path.symlink_to(weights)
        engines[name] = {
            "kind": "embedded",
            "model_path": str(path),
            "slots": SLOTS,
            "context_tokens": SLOTS * 512,
            "threads": 1,
        }
    both = [{"engine": name} for name in NAMES]
    models = {"m": {"deployments": both}, **{name: {"deployments": [{"engine": name}]} for name in NAMES}}
    return json.dumps({"engines": engines, "models": models})


@dataclass
class Pair:
    """A gateway with two engines."""

    process: Process

    def pids(self) -> list[int]:
        """The child processes that run llama.cpp."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        return [
            int(pid) for pid in children if b"embedded/child" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    def start_s(self, engine: str) -> float:
        """The seconds in which an engine first started. One starts after the other."""
        before = 0.0
        for h, m, s, ms, name in STAMP.findall(self.process.log()):
            at = 3600 * int(h) + 60 * int(m) + int(s) + int(ms) / 1000
            if name == engine:
                return (at - before) % 86_400
            before = at
        raise AssertionError(f"{engine} was never ready")

    def kill(self, pid: int) -> tuple[str, float]:
        """Kill an engine. Return its name, when the gateway has noticed, and the time of the kill."""
        ended = len(ENDED.findall(self.process.log()))
        os.kill(pid, signal.SIGKILL)
        killed_at = time.monotonic()
        eventually(lambda: len(ENDED.findall(self.process.log())) > ended, "the end of an engine")
        return ENDED.findall(self.process.log())[-1], killed_at

    def is_ready_again(self, engine: str) -> bool:
        """Whether the log says that a killed engine is ready. The gateway asks it every two seconds."""
        return f"engine {engine} is ready" in self.process.log().rpartition("; restart in")[2]

    async def answers_at(self, openai: AsyncOpenAI, engine: str) -> float:
        """Return the time at which an engine has answered a call that goes before the waiting streams."""
        answer = await openai.chat.completions.create(
            model=engine, messages=[{"role": "user", "content": "Hi"}], max_tokens=1
        )
        assert answer.choices
        return time.monotonic()

    async def back_at(self, openai: AsyncOpenAI, engine: str) -> float:
        """Return when a killed engine was back. It may be back between two probes, or the streams take its seats first."""
        answers = asyncio.create_task(self.answers_at(openai, engine))
        while not answers.done() and not self.is_ready_again(engine):
            await asyncio.sleep(0.005)
        back_at = time.monotonic()
        await answers
        return back_at


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with serve(configuration(tmp_path)) as process:
        yield Pair(process)


@dataclass
class Streamed:
    """One stream: how many events came, its finish reason, and the code of the error that ended it."""

    events: int = 0
    finish: str | None = None
    error: str | None = None
    ended: bool = False


async def read(openai: AsyncOpenAI, number: int, into: Streamed) -> None:
    try:
        chunks = await openai.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": f"Count up from {number}."}],
            stream=True,
            max_tokens=TOKENS,
            extra_headers={"x-tidegate-priority": "batch"},
            extra_body={"ignore_eos": True},
        )
        async for chunk in chunks:
            into.events += 1
            if chunk.choices and chunk.choices[0].finish_reason:
                into.finish = chunk.choices[0].finish_reason
    except APIError as error:
        into.error = str(error.code)
    into.ended = True


@dataclass
class Killed:
    """What became of the streams, and how long the engine took to answer again, after each kill."""

    streams: list[Streamed]
    engine: str
    back_s: list[float]


def client(pair: Pair) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=pair.process.base_url, api_key="-", max_retries=0, timeout=120)


async def kill_one_under_streams(pair: Pair) -> Killed:
    """Kill an engine when both of them stream: more streams have begun than the seats of one."""
    streams = [Streamed() for _ in range(STREAMS)]
    async with client(pair) as openai, asyncio.TaskGroup() as group:
        for number, stream in enumerate(streams):
            group.create_task(read(openai, number, stream))
        while sum(bool(stream.events) and not stream.ended for stream in streams) <= SLOTS:
            assert not all(stream.ended for stream in streams), "the streams were never at both engines"
            await asyncio.sleep(0.001)
        engine, killed_at = await asyncio.to_thread(pair.kill, pair.pids()[0])
        back_s = await pair.back_at(openai, engine) - killed_at
    return Killed(streams, engine, [back_s])


async def kill_again(pair: Pair) -> float:
    """Kill an engine that has nothing to do, and return the seconds until it answers."""
    async with client(pair) as openai:
        engine, killed_at = await asyncio.to_thread(pair.kill, pair.pids()[0])
        return await pair.answers_at(openai, engine) - killed_at


@pytest.mark.timeout(180)
def test_streams_before_their_first_token_finish_at_the_other_engine(pair: Pair) -> None:
    before = pair.pids()
    found = asyncio.run(kill_one_under_streams(pair))
    broken = [stream for stream in found.streams if stream.error is not None]
    whole = [stream for stream in found.streams if stream.error is None]
    assert [stream.finish for stream in whole] == ["length"] * len(whole), "a silent truncation"
    assert [stream for stream in broken if not stream.events] == [], "failed before anything had come"
    assert 1 <= len(broken) <= SLOTS, found.streams
    assert {(stream.error, stream.finish) for stream in broken} == {("engine_error", None)}

    assert len(set(pair.pids()) & set(before)) == 1
    assert len(pair.pids()) == len(NAMES)
    limit_s = STARTS * pair.start_s(found.engine)
    while min(found.back_s) > limit_s and len(found.back_s) < 4:
        # Something else may have kept the machine busy. An engine that always takes longer is at fault.
        found.back_s.append(asyncio.run(kill_again(pair)))
    print(f"{found.engine} was back after {found.back_s} s; the limit is {limit_s:.2f} s")
    assert min(found.back_s) <= limit_s
