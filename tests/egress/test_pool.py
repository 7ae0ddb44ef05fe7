"""The pool of connections: what may be sent again, and that every way out leaves the books right."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from egress import servers
from egress.roads import ask, echo, told
from egress.servers import Peer
from virtual import VirtualLoop, run
from wire import Wire

from tidegate.egress import connection, pool
from tidegate.egress.connection import Connection
from tidegate.egress.exchange import Timeouts
from tidegate.egress.pool import HttpClient, Reuse
from tidegate.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable

pytestmark = pytest.mark.anyio

AMPLE = Timeouts(20, 20, 20, 20)


def near(port: int, timeouts: Timeouts = AMPLE, most: int = 8) -> HttpClient:
    return HttpClient(f"http://127.0.0.1:{port}/v1", timeouts, max_connections=most)


def books(client: HttpClient) -> tuple[int, int]:
    """Connections counted as open, and those among them that wait for work (white box: nothing outside shows it)."""
    return len(client._open), len(client._idle)


# -- sent again or not ----------------------------------------------------------------------------------------------


async def answer_then_drop_the_next(peer: Peer) -> None:
    """Closes with the second request, as an engine whose idle time ran out just then."""
    request = await peer.request()
    await peer.answer(request.body)
    await peer.request()


async def test_a_request_that_met_a_closing_connection_is_sent_again() -> None:
    async with servers.serve(answer_then_drop_the_next) as server:
        client = near(server.port)
        for i in range(4):
            assert await told(client, b"%d" % i) == b"%d" % i
        assert [request.body for request in server.requests] == [b"0", b"1", b"1", b"2", b"2", b"3", b"3"]
        assert books(client) == (1, 1)
        await client.close()


async def test_it_is_sent_again_once_and_on_a_new_connection() -> None:
    async def script(peer: Peer) -> None:
        if peer.number < 3:
            await answer_then_drop_the_next(peer)

    async with servers.serve(script) as server:
        client = near(server.port)
        held = [await ask(client, b"a") for _ in range(3)]
        for exchange in held:
            assert await exchange.read() == b"a"
            await exchange.close()
        assert books(client) == (3, 3)
        with pytest.raises(UpstreamError):
            await ask(client, b"b")  # the fourth connection gives no answer either
        assert [request.body for request in server.requests].count(b"b") == 1
        assert books(client) == (0, 0), "the other idle connections may be about to close as well"
        await client.close()


async def chunked_then_plain(peer: Peer) -> None:
    """A chunked answer, and one with a length."""
    await peer.request()
    await peer.begin()
    await peer.send(b"0\r\n\r\n")
    await peer.request()
    await peer.answer(b"plain")
    await peer.gone()


@pytest.mark.parametrize(("keeps", "connections"), [(True, 1), (False, 2)])
async def test_a_connection_that_has_carried_a_stream_is_reused_only_where_the_engine_keeps_it(
    keeps: bool, connections: int
) -> None:
    async with servers.serve(chunked_then_plain) as server:
        client = HttpClient(
            f"http://127.0.0.1:{server.port}/v1", AMPLE, max_connections=8, reuse=Reuse(after_chunked=keeps)
        )
        assert [await told(client, b"1"), await told(client, b"2")] == [
            b"first",
            b"plain" if keeps else b"first",
        ]
        assert len(server.peers) == connections
        await client.close()


async def test_an_engine_that_died_at_work_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALE_S", 0.0)
    async with servers.serve(answer_then_drop_the_next) as server:
        client = near(server.port)
        assert await told(client, b"0") == b"0"
        with pytest.raises(UpstreamError):
            await ask(client, b"1")
        assert [request.body for request in server.requests] == [b"0", b"1"]
        await client.close()


async def test_an_old_idle_connection_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "NEAR_IDLE_S", 0.0)
    async with servers.serve(echo) as server:
        client = near(server.port, most=1)
        for i in range(3):
            assert await told(client, b"%d" % i) == b"%d" % i
        assert len(server.peers) == 3
        assert books(client) == (1, 1)
        await client.close()


async def test_bytes_before_the_first_request_are_no_answer() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await peer.gone()

    async with servers.serve(script) as server:
        client = near(server.port)
        connection = await client._connect(asyncio.get_running_loop().time() + 20)
        async with asyncio.timeout(1):
            await server.peers[0].left.wait()
        client.give_back(connection)
        assert books(client) == (0, 0)
        await client.close()


# -- the books ------------------------------------------------------------------------------------------------------


async def test_the_books_after_every_way_out() -> None:
    async def script(peer: Peer) -> None:
        what = (await peer.request()).body
        if what == b"ok":
            await peer.answer(b"ok")
        elif what == b"stream":
            await peer.begin()
        elif what == b"garbage":
            await peer.send(b"?\r\n\r\n")
        await peer.gone()

    async with servers.serve(script) as server:
        client = near(server.port, Timeouts(20, 0.05, 20, 20))
        for _ in range(2):
            exchange = await ask(client, b"stream")
            assert books(client) == (1, 0)
            await exchange.close()
            await exchange.close()
            assert books(client) == (0, 0)
        for bad in (b"garbage", b"silence"):
            with pytest.raises(UpstreamError):
                await ask(client, bad)
            assert books(client) == (0, 0)
        task = asyncio.ensure_future(ask(client, b"silence"))
        while not client._open:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert books(client) == (0, 0)
        assert await told(client, b"ok") == b"ok"
        assert books(client) == (1, 1)
        await client.close()
        assert books(client) == (0, 0)


async def test_an_answer_left_unread_keeps_its_connection_only_where_it_is_whole() -> None:
    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.body == b"whole":
                await peer.answer(b"all of it")
            else:
                await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 600000\r\n\r\n" + b"x" * 1000)

    async with servers.serve(script) as server:
        client = near(server.port)
        exchange = await ask(client, b"whole")
        await exchange.close()
        assert books(client) == (1, 1)
        assert await told(client, b"whole") == b"all of it"
        exchange = await ask(client, b"long")
        await exchange.close()
        assert books(client) == (0, 0)
        await client.close()


async def test_a_half_sent_request_drops_its_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.answer(b"early")
        await peer.left.wait()

    async with servers.serve(script) as server:
        client = near(server.port)
        assert await told(client, b"x" * 20_000_000) == b"early"
        assert books(client) == (0, 0)
        await client.close()


async def test_an_expected_end_counts_until_it_has_come_and_the_next_call_waits_for_it() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.begin()
            await go_on.wait()
            await peer.send(b"0\r\n\r\n")

    async with servers.serve(script) as server:
        client = near(server.port, most=1)
        exchange = await ask(client)
        assert await exchange.read() == b"first"
        await exchange.close(expect_end=True)
        await exchange.close()
        assert books(client) == (1, 0)
        asking = asyncio.ensure_future(ask(client))
        await asyncio.sleep(0.01)
        assert not asking.done()
        go_on.set()
        assert (await asking).status == 200
        assert books(client) == (1, 0)
        await client.close()
        assert len(server.peers) == 1


async def test_a_host_name_that_is_none() -> None:
    client = HttpClient("http://a..b/v1", AMPLE, max_connections=1)
    with pytest.raises(UpstreamUnreachable):
        await ask(client)
    assert books(client) == (0, 0)


async def test_a_client_closed_while_it_connects() -> None:
    async with servers.serve(echo) as server:
        client = near(server.port)
        task = asyncio.ensure_future(ask(client))
        while not client._open:
            await asyncio.sleep(0)
        await client.close()
        with pytest.raises(UpstreamError):
            await task
        assert books(client) == (0, 0)
        async with asyncio.timeout(1):
            while server.peers and not server.peers[0].left.is_set():
                await asyncio.sleep(0)


# -- what a burst leaves behind -------------------------------------------------------------------------------------


class Answering(VirtualLoop):
    """A virtual loop whose connections lead to an engine that answers each request after a tenth of a second."""

    def __init__(self) -> None:
        super().__init__()
        self.wires: list[Wire] = []

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))]

    async def sock_connect(self, *_: Any, **__: Any) -> None: ...

    async def create_connection(self, protocol_factory: Any, *_: Any, **given: Any) -> Any:
        given["sock"].close()
        one, loop = protocol_factory(), self

        class Engine(Wire):
            def write(self, data: Any) -> None:
                super().write(data)
                loop.call_later(0.1, one.data_received, heard(b"ok"))

        self.wires.append(Engine())
        one.connection_made(self.wires[-1])
        return self.wires[-1], one


@pytest.mark.parametrize("calls_after", [0, 12], ids=["silence", "one call a second"])
def test_connections_of_a_burst_are_closed_and_forgotten_when_they_have_been_idle(calls_after: int) -> None:
    loop = Answering()

    async def scene() -> tuple[int, int]:
        client = near(1, most=100)
        await asyncio.gather(*(told(client) for _ in range(50)))
        assert books(client) == (50, 50)
        for _ in range(calls_after):
            await told(client)
            await asyncio.sleep(1)
        await asyncio.sleep(0 if calls_after else 12)
        return books(client)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        left = 1 if calls_after else 0
        assert runner.run(scene()) == (left, left)
    closed = [wire.closed_at for wire in loop.wires if wire.closed_at is not None]
    assert len(loop.wires) == 50
    assert len(closed) == 50 - left
    assert 4.0 <= min(closed) <= max(closed) <= 4.2 + pool.OLD_WITHIN_S


# -- one timer for all exchanges of a connection ------------------------------------------------------------------------


def heard(answer: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer)


async def exchange(one: Connection, wire: Wire, *, total_s: float, answer_after_s: float) -> bytes:
    """One request and its answer; raises UpstreamTimeout where that takes too long."""
    loop = asyncio.get_running_loop()
    loop.call_later(answer_after_s, lambda: wire.is_closing() or one.data_received(heard(b"ok")))
    try:
        await one.start(b"GET / HTTP/1.1\r\n\r\n", loop.time() + total_s)
        return await one.read()
    finally:
        one.finish()


async def failing_at(one: Connection, wire: Wire, *, total_s: float) -> float:
    """How long it took until an engine that says nothing was given up."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(UpstreamTimeout):
        await exchange(one, wire, total_s=total_s, answer_after_s=1000)
    return loop.time() - began


@pytest.mark.parametrize(
    ("total_s", "given_up_after_s"),
    [(3.0, 3.0), (19.0, 19.0), (500.0, 20.0)],
    ids=["total", "late", "first byte"],
)
@pytest.mark.parametrize("pause_s", [0.0, 7.0, 45.0])
def test_a_timer_left_by_earlier_exchanges_is_neither_early_nor_late(
    total_s: float, given_up_after_s: float, pause_s: float
) -> None:
    async def scene() -> float:
        one, wire = Connection(Timeouts(20, 20, 30, 600)), Wire()
        one.connection_made(wire)
        for _ in range(5):
            assert await exchange(one, wire, total_s=100, answer_after_s=2) == b"ok"
            await asyncio.sleep(pause_s)
        return await failing_at(one, wire, total_s=total_s)

    assert run(scene()) == pytest.approx(given_up_after_s, abs=0.01)


def test_a_reader_that_gave_up_is_nobody_who_waits() -> None:
    async def scene() -> bytes:
        one, wire = Connection(Timeouts(20, 20, 2, 600)), Wire()
        one.connection_made(wire)
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, lambda: one.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"))
        await one.start(b"GET / HTTP/1.1\r\n\r\n", loop.time() + 600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await one.read()
        await asyncio.sleep(50)  # busy with something else: the engine's silence is not its fault
        one.data_received(b"ok")
        return await one.read()

    assert run(scene()) == b"ok"
