"""Every fault of the proxy, met by a client that reads the bytes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from chaos.faults.children import free_port
from chaos.faults.clients import text_of
from chaos.faults.plan import BREAKS_OFF, SLOWS, SOUND, Fault, Kind, always, by_chance, sound
from chaos.faults.proxy import HOST, FaultProxy
from tidegate.engines.scripted.script import Script
from tidegate.engines.scripted.server import ScriptedServer

TOKENS = 6
TEXT = text_of(7, TOKENS)
PATIENCE_S = 20.0


@dataclass
class Tides:
    """A scripted engine behind a proxy."""

    engine: ScriptedServer
    proxy: FaultProxy


@asynccontextmanager
async def behind(fault: Fault = SOUND) -> AsyncIterator[Tides]:
    engine = ScriptedServer(script=Script(text=TEXT, tokens=TOKENS))
    await engine.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            async with FaultProxy("a", int(engine.url.rpartition(":")[2]), always(fault)) as proxy:
                yield Tides(engine, proxy)
    finally:
        await engine.stop()


def request(*, stream: bool = True, path: str = "/v1/chat/completions") -> bytes:
    body = json.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "op-7"}]})
    head = f"POST {path} HTTP/1.1\r\nx-chaos-gateway: g\r\ncontent-length: {len(body)}\r\n\r\n"
    return (head + body).encode()


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, *, stream: bool = True) -> bytes:
        """One answer, as far as it goes: to its end, or to the end of the connection."""
        self.writer.write(request(stream=stream))
        found = await self.reader.readuntil(b"\r\n\r\n")
        if length := re.search(rb"content-length: (\d+)", found):
            return found + await self.reader.readexactly(int(length[1]))
        return found + await self.reader.readuntil(b"\r\n0\r\n\r\n")


@asynccontextmanager
async def client(proxy: FaultProxy) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def direct(engine: ScriptedServer, *, stream: bool) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, int(engine.url.rpartition(":")[2]))
    try:
        return await Client(reader, writer).ask(stream=stream)
    finally:
        writer.transport.abort()


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_without_a_fault_every_byte_passes_and_connections_are_kept(stream: bool) -> None:
    async with behind() as tides, client(tides.proxy) as one:
        expected = await direct(tides.engine, stream=stream)
        assert [await one.ask(stream=stream) for _ in range(3)] == [expected] * 3
        assert [(each.op, each.gateway, each.fault) for each in tides.proxy.passed] == [(7, "g", "none")] * 3
        assert tides.engine.record.connections == 2  # the direct one, and one for the three


@pytest.mark.anyio
async def test_probes_meet_no_fault() -> None:
    async with behind(Fault(Kind.REFUSE)) as tides, client(tides.proxy) as one:
        one.writer.write(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await one.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert tides.proxy.passed == []


SLOW = [
    Fault(Kind.LATENCY, seconds=0.02),
    Fault(Kind.BANDWIDTH, bytes_per_s=200_000),
    Fault(Kind.SLOW_HEADERS, seconds=0.02),
]


@pytest.mark.anyio
@pytest.mark.parametrize("fault", SLOW, ids=lambda fault: fault.kind.value)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_what_is_slow_is_whole(fault: Fault, stream: bool) -> None:
    async with behind(fault) as tides, client(tides.proxy) as one:
        assert await one.ask(stream=stream) == await direct(tides.engine, stream=stream)
        assert tides.proxy.passed[0].fault == fault.kind.value


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "after"), [(500, None), (503, 1.0), (429, 7.0)])
async def test_a_status_comes_in_place_of_the_engine(status: int, after: float | None) -> None:
    fault = Fault(Kind.STATUS, status=status, retry_after_s=after)
    async with behind(fault) as tides, client(tides.proxy) as one:
        for _ in range(2):
            answer = await one.ask()
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert (b"\r\nretry-after: " in answer) == (after is not None)
        assert tides.engine.record.requests == 0


ENDS = {
    Kind.CLOSE: rb"\n\n\r\n\Z",
    Kind.CUT_CHUNK: rb"\n\n\r\n[0-9a-f]\Z",
}
"""The last bytes before FIN: those of a whole part, and the first digit of a size."""


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ENDS, ids=lambda kind: kind.value)
@pytest.mark.parametrize("after", [1, 3])
async def test_the_connection_ends_after_some_parts(kind: Kind, after: int) -> None:
    async with behind(Fault(kind, after=after)) as tides, client(tides.proxy) as one:
        whole = await direct(tides.engine, stream=True)
        one.writer.write(request())
        found = await one.reader.read()
        assert whole.startswith(found)
        assert found.count(b"\r\ndata: ") == after
        assert re.search(ENDS[kind], found)
        passed = tides.proxy.passed[0]
        assert (passed.fault, passed.after) == (kind.value, after)
        await ended(tides)


@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "after"), [(Kind.REFUSE, 0), (Kind.RESET, 0), (Kind.RESET, 2)])
async def test_the_connection_is_reset(kind: Kind, after: int) -> None:
    async with behind(Fault(kind, after=after)) as tides, client(tides.proxy) as one:
        one.writer.write(request())
        with pytest.raises(ConnectionResetError):
            await one.reader.readuntil(b"[DONE]")
        assert tides.engine.record.requests == (kind is not Kind.REFUSE)
        await ended(tides)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [Kind.CUT_EVENT, Kind.CUT_CHARACTER], ids=lambda kind: kind.value)
async def test_the_body_ends_inside_an_event_and_the_connection_is_good(kind: Kind) -> None:
    async with behind(Fault(kind, after=2)) as tides, client(tides.proxy) as one:
        found = await one.ask()
        body = re.sub(rb"\r\n[0-9a-f]+\r\n", b"", found.partition(b"\r\n\r\n")[2])
        assert b"[DONE]" not in body
        assert not body.endswith(b"\n\n")
        if kind is Kind.CUT_CHARACTER:
            with pytest.raises(UnicodeDecodeError):
                body.removesuffix(b"\r\n").decode()
        tides.proxy.plan = sound
        assert await one.ask() == await direct(tides.engine, stream=True)


@pytest.mark.anyio
@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("kind", [Kind.STALL, Kind.HALF_OPEN], ids=lambda kind: kind.value)
async def test_silence_is_no_end(kind: Kind, after: int) -> None:
    async with behind(Fault(kind, after=after)) as tides:
        async with client(tides.proxy) as one:
            one.writer.write(request())
            if after:
                await one.reader.readuntil(b"\r\ndata: ")
            while not tides.proxy.passed or tides.proxy.passed[0].fault == "none":
                await asyncio.sleep(0.001)
            await ended(tides)  # the engine has said all of it, or was left
            assert not one.reader.at_eof()
            assert tides.proxy.passed[0].ended_at is None
        while tides.proxy.passed[0].ended_at is None:
            await asyncio.sleep(0.001)


CUTS_HALVES = [Kind.RESET, Kind.CLOSE, Kind.CUT_EVENT, Kind.CUT_CHARACTER]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", CUTS_HALVES, ids=lambda kind: kind.value)
async def test_an_answer_that_is_not_streamed_breaks_off_too(kind: Kind) -> None:
    async with behind(Fault(kind, after=1)) as tides, client(tides.proxy) as one:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await one.ask(stream=False)
        assert tides.proxy.passed[0].fault == kind.value


@pytest.mark.anyio
async def test_a_proxy_that_refuses_has_no_port_until_it_listens_again() -> None:
    async with behind() as tides:
        async with client(tides.proxy) as one:
            whole = await one.ask()
            await tides.proxy.refuse()
            with pytest.raises(ConnectionResetError):
                await one.reader.read()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(HOST, tides.proxy.port)
        await tides.proxy.listen()
        async with client(tides.proxy) as one:
            assert await one.ask() == whole


@pytest.mark.anyio
async def test_an_engine_that_is_not_there_is_a_reset() -> None:
    async with FaultProxy("a", free_port()) as proxy, client(proxy) as one:
        one.writer.write(request())
        with pytest.raises(ConnectionResetError):
            await one.reader.read()


@pytest.mark.anyio
async def test_a_gateway_that_leaves_frees_the_engine() -> None:
    async with behind() as tides:
        tides.engine.script = Script(tokens=10_000, itl_ms=10)
        async with client(tides.proxy) as one:
            one.writer.write(request())
            await one.reader.readuntil(b"\r\ndata: ")
        await ended(tides)
        assert tides.engine.record.cancelled == 1


async def ended(tides: Tides) -> None:
    """Wait until the engine has no call."""
    while tides.engine.record.in_flight or tides.engine.record.requests == 0 != _expected(tides):
        await asyncio.sleep(0.001)


def _expected(tides: Tides) -> int:
    return sum(one.fault not in {"refuse", "status"} for one in tides.proxy.passed)


def test_a_plan_repeats_by_its_seed_and_knows_every_kind() -> None:
    kinds = sorted(BREAKS_OFF | SLOWS | {Kind.STATUS, Kind.REFUSE}, key=lambda kind: kind.value)
    plan = by_chance("1/a", 0.5, kinds)
    faults = [plan(number) for number in range(2000)]
    assert faults == [by_chance("1/a", 0.5, kinds)(number) for number in range(2000)]
    assert faults != [by_chance("2/a", 0.5, kinds)(number) for number in range(2000)]
    assert {fault.kind for fault in faults} == {Kind.NONE, *kinds}
    assert 900 < sum(fault is SOUND for fault in faults) < 1100
    assert all(fault.after == 0 for fault in faults if fault.kind not in BREAKS_OFF)
