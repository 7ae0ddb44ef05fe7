"""A whole gateway on the clock of `virtual`, with rails and an engine of the test.

async with railed([{"kind": "rule"}]) as world:   # within `virtual.run`
    answer = await world.ask(chat("hello"))
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from in_hand import WALL_S, GatewayInHand, InHand, until
from limited import Answered
from plain_engine import PlainEngine
from talking import CHAT, COMPLETIONS, data_of
from virtual import VirtualLoop

from railed import made
from tidegate.config import Config, parse_text
from tidegate.engines import fields
from tidegate.engines.answers import read_answer
from tidegate.gateway import Gateway
from tidegate.http.app import create_app
from tidegate.http.edge.server import EdgeServer
from tidegate.rails.streams.passages import USUAL, Cut
from tidegate.runtime import Runtime
from tidegate.types import ENGINE_ENDPOINTS, Ask, Batch, Capabilities, Endpoint, Piece, Record

Step = float | dict[str, Any] | Exception
"""What an engine does next: it waits for so many seconds, sends an event or a whole answer, or fails."""
Says = Callable[[Ask], Iterable[Step]]


@dataclass
class Asked:
    """One call of the engine. `state` is `running`, `ok`, or the name of the exception that ended it."""

    ask: Ask
    state: str = "running"
    ended_at: float = 0.0

    @property
    def fields(self) -> dict[str, Any]:
        """The body that the engine got."""
        return {name: json.loads(bytes(value)) for name, value in self.ask.fields.items()}

    @property
    def messages(self) -> list[Any]:
        found: list[Any] = self.fields["messages"]
        return found


class Told(PlainEngine):
    """An engine that does what the test tells it."""

    capabilities = Capabilities(
        {end: fields.VLLM[end] | {"documents"} for end in ENGINE_ENDPOINTS}, stream_usage=True
    )

    def __init__(self) -> None:
        self.says: Says = says("Good day.")
        self.asked: list[Asked] = []

    async def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        one = Asked(ask)
        self.asked.append(one)
        try:
            for step in self.says(ask):
                await asyncio.sleep(step if isinstance(step, float) else 0)
                if isinstance(step, Exception):
                    raise step  # noqa: TRY301 - it is the test's
                if isinstance(step, dict):
                    yield [piece(step, stream=ask.stream)]
        except BaseException as error:
            one.state = type(error).__name__
            raise
        else:
            one.state = "ok"
        finally:
            one.ended_at = asyncio.get_running_loop().time()


def piece(event: Any, *, stream: bool) -> Piece:
    data = json.dumps(event, ensure_ascii=False).encode()
    return Piece(data, read_answer(data), b"data: " + data + b"\n\n" if stream else None)


def says(
    *texts: str,
    channel: str = "content",
    choices: int = 1,
    ttft_s: float = 0.0,
    itl_s: float = 0.0,
    usage: bool = False,
) -> Says:
    """Say texts, one an event of a stream, or all as one whole answer, in each of some choices."""

    def steps(ask: Ask) -> Iterable[Step]:
        if ttft_s:
            yield ttft_s
        if ask.endpoint is Endpoint.EMBEDDINGS:
            yield {"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "model": "m", "usage": USAGE}
        elif not ask.stream:
            yield whole(ask, "".join(texts), channel, choices)
        else:
            for text in texts:
                for at in range(choices):
                    yield event(ask, at, text, channel)
                if itl_s:
                    yield itl_s
            for at in range(choices):
                yield event(ask, at, None, channel, finish="stop")
            if usage:
                yield {**TOP, "choices": [], "usage": USAGE}

    return steps


def passages(text: str, cut: Cut = USUAL) -> list[str]:
    """Return the passages of a text that is complete."""
    found: list[str] = []
    while text:
        end = cut.end(text, last=True)
        found.append(text[:end])
        text = text[end:]
    return found


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
TOP = {"id": "x-1", "created": 1, "model": "m"}
ARGUMENTS = "arguments"


def event(ask: Ask, at: int, text: str | None, channel: str, *, finish: str | None = None) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": at, "finish_reason": finish}
    if ask.endpoint is Endpoint.COMPLETIONS:
        choice["text"] = text or ""
    else:
        choice["delta"] = {} if text is None else said_by(channel, text, index=0)
    return {**TOP, "object": "chunk", "choices": [choice]}


def whole(ask: Ask, text: str, channel: str, choices: int) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for at in range(choices):
        one: dict[str, Any] = {"index": at, "finish_reason": "stop"}
        if ask.endpoint is Endpoint.COMPLETIONS:
            one["text"] = text
        else:
            one["message"] = {"role": "assistant", "content": None, **said_by(channel, text)}
        found.append(one)
    return {**TOP, "object": "whole", "choices": found, "usage": USAGE}


def said_by(channel: str, text: str, **more: Any) -> dict[str, Any]:
    if channel == ARGUMENTS:
        call = {**more, "id": "c", "type": "function", "function": {"name": "f", "arguments": text}}
        return {"tool_calls": [call]}
    return {channel: text}


# ------------------------------------------------------------------------------------------------------------ requests


def chat(text: str = "hello", *messages: Mapping[str, Any], **more: Any) -> bytes:
    """The body of a chat whose last message is the text."""
    return json.dumps(
        {"model": "m", "messages": [*messages, {"role": "user", "content": text}], **more}
    ).encode()


def request(endpoint: str, text: str = "hello", **more: Any) -> bytes:
    """The body of a request of any endpoint."""
    if endpoint == CHAT:
        return chat(text, **more)
    return json.dumps({"model": "m", "prompt" if endpoint == COMPLETIONS else "input": text, **more}).encode()


# ------------------------------------------------------------------------------------------------------------- answers


class Answer(Answered):
    """An answer, with what it says by choice and channel."""

    def __init__(self, client: InHand) -> None:
        super().__init__(client)
        self.client = client
        self.events: list[Any] = []
        """The JSON of the events, of which a whole answer is one."""
        self.is_done = True
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            data = data_of(self.body)
            self.is_done = data[-1] == b"[DONE]"
            self.events = [json.loads(one) for one in data if one != b"[DONE]"]
        elif self.status == 200:
            self.events = [self.json]

    @property
    def texts(self) -> dict[tuple[int, str], str]:
        """The texts by choice and channel, without empty ones."""
        found: dict[tuple[int, str], str] = defaultdict(str)
        for one in self._choices():
            part = one.get("delta") or one.get("message") or {"content": one.get("text")}
            for channel in ("content", "reasoning_content", "reasoning", "refusal"):
                found[one["index"], channel] += part.get(channel) or ""
            for call in part.get("tool_calls") or ():
                found[one["index"], ARGUMENTS] += call["function"]["arguments"]
        return {place: text for place, text in found.items() if text}

    @property
    def text(self) -> str:
        """What the first choice says."""
        return self.texts.get((0, "content"), "")

    @property
    def finish(self) -> dict[int, str]:
        """The reasons why the choices ended."""
        return {one["index"]: one["finish_reason"] for one in self._choices() if one["finish_reason"]}

    @property
    def rails(self) -> dict[str, str]:
        """What the header says of the rails."""
        told = self.headers.get("x-tidegate-rails", "")
        return dict(one.split("=") for one in told.split(", ") if one)

    def _choices(self) -> list[dict[str, Any]]:
        return [choice for one in self.events for choice in one.get("choices") or ()]


@dataclass
class World:
    """The gateway, its engine, and the records of the calls that have ended."""

    in_hand: GatewayInHand
    engine: Told
    logged: list[Record] = field(default_factory=list)

    @property
    def gateway(self) -> Gateway:
        return self.in_hand.gateway

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def record(self) -> Record:
        """The record of the last call."""
        return self.logged[-1]

    def send(self, body: bytes, *headers: str, path: str = CHAT) -> InHand:
        client = self.in_hand.connect()
        client.begin(len(body), "connection: close", *headers, path=f"/v1/{path}")
        client.send(body)
        return client

    async def ask(self, body: bytes, *headers: str, path: str = CHAT) -> Answer:
        return await answered(self.send(body, *headers, path=path))

    def metric(self, line: str) -> float:
        """The value of a metric, by the beginning of its line."""
        found = [
            one for one in self.gateway.runtime.metrics.render().decode().splitlines() if one.startswith(line)
        ]
        return sum(float(one.rpartition(" ")[2]) for one in found)


async def answered(client: InHand) -> Answer:
    await until(lambda: client.wire.closed_at is not None, "the end of the answer")
    return Answer(client)


def configuration(
    rails: Sequence[Mapping[str, Any]],
    *,
    profile: Mapping[str, Any] | None = None,
    policy: Mapping[str, Any] | None = None,
    section: Mapping[str, Any] | None = None,
    **sections: Any,
) -> dict[str, Any]:
    """A configuration whose callers are under these rails."""
    one = {"rails": list(rails), **(profile or {})}
    more = dict(section or {})
    return {
        "engines": {"script": {"kind": "scripted"}},
        "models": {"*": {"deployments": [{"engine": "script"}]}},
        "rails": {**more, "profiles": {"p": one, **more.get("profiles", {})}},
        "policies": {"default": {"rails": "p", **(policy or {})}},
        "review": {"path": ":memory:"} if asks_people(one) else {},
        **sections,
    }


def asks_people(profile: Mapping[str, Any]) -> bool:
    rails = profile.get("rails", ())
    return profile.get("after_rounds") == "review" or any(one.get("on_fail") == "review" for one in rails)


def read(tree: Mapping[str, Any]) -> Config:
    return parse_text(json.dumps(tree), source="the test")


@asynccontextmanager
async def railed(
    rails: Sequence[Mapping[str, Any]] = (), *, path: Path | None = None, **more: Any
) -> AsyncGenerator[World]:
    """Run a gateway whose callers are under these rails. `path` is the file for its configuration, if it is reloaded."""
    made.seen.clear()
    made.cancelled.clear()
    tree = configuration(rails, **more)
    if path is not None:
        path.write_text(json.dumps(tree))
    config, engine = read(tree), Told()
    clock = asyncio.get_running_loop().time
    runtime = Runtime(clock=clock, wall=lambda: WALL_S + clock(), make=lambda name, settings: engine)
    async with Gateway(config, path=path, runtime=runtime) as gateway:
        world = World(GatewayInHand(gateway, EdgeServer(create_app(gateway), config.server)), engine)
        finished = runtime.metrics.finished

        def note(record: Record) -> None:
            world.logged.append(record)
            finished(record)

        runtime.metrics.finished = note  # type: ignore[method-assign]
        try:
            yield world
        finally:
            made.stays.clear()


@contextmanager
def kept(rails: Sequence[Mapping[str, Any]] = (), **more: Any) -> Generator[Kept]:
    """Run a gateway as `railed` does, for the examples of a property: starting one for each would take too long."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        opened: list[World] = []

        async def serve(end: asyncio.Event) -> None:
            async with railed(rails, **more) as world:
                opened.append(world)
                await end.wait()

        async def begin() -> tuple[asyncio.Task[None], asyncio.Event]:
            end = asyncio.Event()
            task = asyncio.create_task(serve(end))
            await until(lambda: bool(opened) or task.done(), "the gateway is open")
            return task, end

        async def stop() -> None:
            end.set()
            await task

        task, end = runner.run(begin())
        yield Kept(opened[0], runner)
        runner.run(stop())


@dataclass
class Kept:
    """A gateway for the examples of a property. `ask` is that of `World`."""

    world: World
    runner: asyncio.Runner

    def ask(self, body: bytes, *headers: str, path: str = CHAT) -> Answer:
        self.world.logged.clear()
        self.world.engine.asked.clear()
        return self.runner.run(self.world.ask(body, *headers, path=path))
