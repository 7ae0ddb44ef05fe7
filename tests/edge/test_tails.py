"""The last bytes of an answer: a client that keeps reading gets all of them, however the connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from in_hand import GatewayInHand, InHand, gateway_in_hand, until
from talking import chat, stream
from virtual import run

from tidegate.call import Call
from tidegate.config import parse_text
from tidegate.engines.openai import read_answer
from tidegate.gateway import Gateway
from tidegate.http.edge.server import bind
from tidegate.http.serving import LAST_WORDS_S, GatewayServer
from tidegate.pipeline import Pipeline
from tidegate.runtime import Runtime
from tidegate.types import Batch, Piece, Reply

SIZE = 2**20
TEXT = f"tokens=1 text={'x' * SIZE}"
STEPS = 60
"""The client needs so many seconds: longer than any time limit that there is, but for a stall of the reader."""
STALL_S = 30.0

ENDS: dict[str, tuple[tuple[str, ...], str]] = {
    "kept alive": ((), "1.1"),
    "connection: close": (("connection: close",), "1.1"),
    "HTTP/1.0": ((), "1.0"),
}
BODIES = {
    "at once": stream("once"),
    "streamed": stream(TEXT),
    "whole": chat(TEXT),
    "small": stream("tokens=2"),
}
AROUND = b'{"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":"stop"}]}'
# Of the length at which it was found that such an answer was cut.
LARGE = AROUND % (b"x" * (4_194_377 - len(AROUND) + 2))


class AtOnce:
    """A stage that answers a stream in one batch, as an engine does whose whole answer comes in one read."""

    async def __call__(self, call: Call) -> Reply | None:
        if "once" not in str(call.messages[0].content):
            return None

        async def pieces() -> AsyncIterator[Batch]:
            yield [Piece(LARGE, read_answer(LARGE))]

        return Reply(pieces(), [])


def answer_at_once(gateway: Gateway) -> None:
    snapshot = gateway.snapshot
    stages = [
        msgspec.structs.replace(stage, work=AtOnce() if stage.name == "recall" else stage.work)
        for stage in snapshot.pipeline.stages
    ]
    snapshot.pipeline = Pipeline(stages, gateway.clock)


async def read_slowly(client: InHand, body: bytes, steps: int = STEPS) -> None:
    """A step a second, each the same share of the answer to `body`; the client begins when its answer has."""
    step = 1 + (len(LARGE) if body is BODIES["at once"] else SIZE) // STEPS
    await until(lambda: client.wire.held_bytes > 0, "an answer begins")
    for _ in range(steps):
        await asyncio.sleep(1)
        client.wire.take(step)


def is_whole(client: InHand, *, text: bool = True) -> bool:
    received = client.wire.taken
    return received == client.received and (received.count(b"x") >= SIZE or not text)


@pytest.mark.parametrize(("headers", "version"), ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_client_that_keeps_reading_gets_everything(
    headers: tuple[str, ...], version: str, body: bytes
) -> None:
    async def scene() -> InHand:
        async with gateway_in_hand() as gateway:
            answer_at_once(gateway.gateway)
            client = gateway.connect()
            client.wire.takes = False
            client.post(body, *headers, version=version)
            await read_slowly(client, body, STEPS - 1)
            if body is not BODIES["small"]:
                assert client.wire.closed_at is None
                assert len(gateway.gateway.live) == 1, "its call is not over before its bytes are gone"
            await read_slowly_on(client)
            await until(lambda: not gateway.gateway.live, "the call is over")
            return client

    client = run(scene())
    assert is_whole(client, text=body is not BODIES["small"])
    if body is BODIES["at once"]:
        assert b"data: " + LARGE + b"\n\n" in client.wire.taken
    if body in (BODIES["at once"], BODIES["streamed"]):
        assert b"data: [DONE]\n\n" in client.wire.taken


async def read_slowly_on(client: InHand) -> None:
    for _ in range(3):
        await asyncio.sleep(1)
        client.wire.take(len(LARGE))


@pytest.mark.parametrize(("headers", "version"), ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_client_that_stops_reading_is_dropped_after_a_stall(
    headers: tuple[str, ...], version: str, body: bytes
) -> None:
    async def scene() -> tuple[float, float | None]:
        async with gateway_in_hand() as gateway:
            answer_at_once(gateway.gateway)
            client, loop = gateway.connect(), asyncio.get_running_loop()
            client.wire.takes = False
            client.post(body, *headers, version=version)
            await until(lambda: client.wire.held_bytes > 0, "an answer begins")
            for _ in range(20):
                await asyncio.sleep(1)
                client.wire.take(1)
            stopped_at = loop.time()
            await asyncio.sleep(3 * STALL_S)
            assert not gateway.gateway.live
            return stopped_at, client.wire.closed_at

    stopped_at, closed_at = run(scene())
    assert closed_at is not None
    assert stopped_at < closed_at <= stopped_at + 2 * STALL_S


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_the_deadline_of_a_call_does_not_end_the_reading_of_its_answer(body: bytes) -> None:
    async def scene() -> InHand:
        async with gateway_in_hand({"call_deadline_s": 5}) as gateway:
            answer_at_once(gateway.gateway)
            client = gateway.connect()
            client.wire.takes = False
            client.post(body)
            await read_slowly(client, body)
            await read_slowly_on(client)
            return client

    assert is_whole(run(scene()), text=body is not BODIES["small"])


def test_what_ends_a_stream_is_told_to_a_client_that_reads_slowly() -> None:
    """The error stands behind what the client has not read yet, however much that is."""

    async def scene() -> bytes:
        async with gateway_in_hand({"call_deadline_s": 5}) as gateway:
            client = gateway.connect()
            client.wire.takes = False
            client.post(stream(f"tokens=9 itl=1000 text={'x' * SIZE}"))
            await read_slowly(client, BODIES["streamed"])
            await read_slowly_on(client)
            assert client.wire.taken == client.received
            return client.wire.taken

    assert b'"timeout_error"' in run(scene())


# -------------------------------------------------------------------------------------------------------------------- drain


@asynccontextmanager
async def draining(**settings: Any) -> AsyncIterator[tuple[GatewayInHand, GatewayServer, asyncio.Task[None]]]:
    """A server that drains when it is told to, on a virtual clock."""
    times = ", ".join(f"{name}: {value}" for name, value in settings.items())
    text = f"""
server: {{port: 0, {times}}}
engines: {{script: {{kind: scripted}}}}
models: {{"*": {{deployments: [{{engine: script}}]}}}}
"""
    config = parse_text(text, source="the test")
    clock = asyncio.get_running_loop().time
    with bind(config.server) as listener:
        async with Gateway(config, runtime=Runtime(clock=clock)) as gateway:
            answer_at_once(gateway)
            server = GatewayServer(gateway, listener)
            serving = asyncio.create_task(server.serve_until_drained())
            await until(lambda: server.started, "it serves")
            yield GatewayInHand(gateway, server), server, serving


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("already", [True, False], ids=["asked before", "asked while draining"])
def test_a_drain_waits_for_a_client_that_keeps_reading(body: bytes, already: bool) -> None:
    async def scene() -> tuple[InHand, float]:
        async with draining(drain_grace_s=2, drain_deadline_s=600) as (gateway, server, serving):
            client = gateway.connect()
            client.wire.takes = False
            if already:
                client.post(body)
                await until(lambda: client.wire.held_bytes > 0, "an answer begins")
            server.drain()
            await asyncio.sleep(0.5)
            if not already:
                client.post(body)
            await read_slowly(client, body)
            assert body is BODIES["small"] or not serving.done()
            await read_slowly_on(client)
            began = asyncio.get_running_loop().time()
            await serving
            return client, asyncio.get_running_loop().time() - began

    client, took_s = run(scene())
    assert is_whole(client, text=body is not BODIES["small"])
    assert took_s < 1, "nothing else is waited for"


@pytest.mark.parametrize("body", [BODIES["at once"], BODIES["whole"]], ids=["at once", "whole"])
def test_the_deadline_of_a_drain_ends_a_reader(body: bytes) -> None:
    async def scene() -> tuple[InHand, float]:
        async with draining(drain_grace_s=0, drain_deadline_s=20) as (gateway, server, serving):
            client = gateway.connect()
            client.wire.takes = False
            client.post(body)
            await until(lambda: client.wire.held_bytes > 0, "an answer begins")
            reading = asyncio.create_task(read_slowly(client, body))
            began = asyncio.get_running_loop().time()
            server.drain()
            await serving
            reading.cancel()
            return client, asyncio.get_running_loop().time() - began

    client, took_s = run(scene())
    assert 20 <= took_s <= 20 + LAST_WORDS_S + 1
    assert 0 < len(client.wire.taken) < len(client.received)
    assert client.wire.closed_at is not None


def test_after_the_deadline_of_a_drain_a_slow_reader_finds_the_error_behind_the_rest() -> None:
    async def scene() -> bytes:
        async with draining(drain_grace_s=0, drain_deadline_s=20) as (gateway, server, serving):
            client = gateway.connect()
            client.wire.takes = False
            client.post(stream("tokens=90 itl=1000"))
            await until(lambda: client.wire.held_bytes > 0, "an answer begins")
            server.drain()
            await asyncio.sleep(21)
            client.wire.take(len(LARGE))
            await serving
            return client.wire.taken

    assert b'"code":"overloaded"' in run(scene())
