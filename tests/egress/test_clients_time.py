"""What both clients promise over every road: the four timeouts, slow readers, and leaving at any moment."""

from __future__ import annotations

import asyncio

import pytest
from egress.roads import AMPLE, SEEN_S, Road, ask, dribble, echo, silent, told, whole
from egress.servers import Peer, Script

from tidegate.errors import UpstreamError, UpstreamTimeout

pytestmark = pytest.mark.anyio


# -- time -----------------------------------------------------------------------------------------------------------


async def test_first_byte_timeout(road: Road) -> None:
    client = road.client((await road.serve(silent)).port, first_byte=0.1)
    with pytest.raises(UpstreamTimeout, match=r"did not begin to answer within 0\.1 s"):
        await ask(client)


async def test_headers_that_trickle_do_not_stretch_the_first_byte(road: Road) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"x: y\r\n")
            await asyncio.sleep(0.02)

    client = road.client((await road.serve(script)).port, first_byte=0.15)
    with pytest.raises(UpstreamTimeout, match="did not begin"):
        await ask(client)


async def test_idle_timeout(road: Road) -> None:
    server = await road.serve(dribble)
    exchange = await ask(road.client(server.port, idle=0.5))
    assert await exchange.read() == b"first"
    with pytest.raises(UpstreamTimeout, match=r"sent nothing for 0\.5 s"):
        await exchange.read()
    async with asyncio.timeout(SEEN_S):
        await server.peers[0].left.wait()
    with pytest.raises(UpstreamError):
        await exchange.read()
    await exchange.close()


async def test_silence_counts_only_while_somebody_waits(road: Road) -> None:
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.begin()
        await more.wait()
        await peer.send(b"4\r\nlast\r\n0\r\n\r\n")

    exchange = await ask(road.client((await road.serve(script)).port, idle=0.5))
    assert await exchange.read() == b"first"
    await asyncio.sleep(0.75)  # a reader that is busy for longer than the idle time
    more.set()
    assert await exchange.read() == b"last"
    await exchange.close()


@pytest.mark.parametrize("where", ["settings", "call"])
async def test_total_timeout_while_data_flows(road: Road, where: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.begin()
        while True:
            await peer.send(b"1\r\nx\r\n")
            await asyncio.sleep(0.01)

    server = await road.serve(script)
    client = road.client(server.port, total=0.5 if where == "settings" else AMPLE)
    exchange = await ask(client, total_s=0.5 if where == "call" else AMPLE)
    with pytest.raises(UpstreamTimeout, match="total time"):
        await whole(exchange)
    async with asyncio.timeout(SEEN_S):
        await server.peers[0].left.wait()
    await exchange.close()


async def test_total_timeout_before_the_headers(road: Road) -> None:
    client = road.client((await road.serve(silent)).port)
    with pytest.raises(UpstreamTimeout, match="total time"):
        await ask(client, total_s=0.1)


async def test_a_slow_reader_makes_the_engine_wait(road: Road) -> None:
    block = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    sent = 0
    stuck = asyncio.Event()
    limit = 24 * 2**20

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while sent < limit:
            peer.writer.write(block)
            sent += 65536
            try:
                async with asyncio.timeout(None if stuck.is_set() else 1.5):
                    await peer.writer.drain()
            except TimeoutError:
                stuck.set()
        await peer.send(b"0\r\n\r\n")
        stuck.set()

    exchange = await ask(road.client((await road.serve(script)).port, idle=1.0))
    await stuck.wait()  # longer than the idle timeout, which is not for us who do not read
    assert sent < limit
    assert len(await whole(exchange)) == limit
    await exchange.close()


# -- leaving --------------------------------------------------------------------------------------------------------


async def test_an_early_close_reaches_the_engine(road: Road) -> None:
    server = await road.serve(dribble)
    exchange = await ask(road.client(server.port))
    assert await exchange.read() == b"first"
    await exchange.close()
    async with asyncio.timeout(SEEN_S):
        await server.peers[0].left.wait()


async def test_a_cancelled_read_leaks_nothing(road: Road) -> None:
    server = await road.serve(dribble)
    client = road.client(server.port, max_connections=1)
    for i in range(3):
        exchange = await ask(client)
        assert await exchange.read() == b"first"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await exchange.read()
        await exchange.close()
        async with asyncio.timeout(SEEN_S):
            await server.peers[i].left.wait()


async def test_a_cancelled_send_leaks_no_place(road: Road) -> None:
    server = await road.serve(silent)
    client = road.client(server.port, max_connections=1)
    for sent in range(3):
        asking = asyncio.ensure_future(ask(client))
        while len(server.requests) == sent:
            await asyncio.sleep(0.001)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert len(server.requests) == 3


async def test_a_cancelled_send_reaches_the_engine(road: Road) -> None:
    server = await road.serve(silent)
    task = asyncio.ensure_future(ask(road.client(server.port)))
    while not server.requests:
        await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(SEEN_S):
        await server.peers[0].left.wait()


async def test_an_abandoned_request_ends_when_its_headers_come(road: Road) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await go_on.wait()
        await peer.begin()
        await peer.gone()

    server = await road.serve(script)
    task = asyncio.ensure_future(ask(road.client(server.port)))
    while not server.requests:
        await asyncio.sleep(0)
    task.cancel()
    go_on.set()
    async with asyncio.timeout(SEEN_S):
        await server.peers[0].left.wait()


async def test_the_end_that_is_expected_keeps_the_connection(road: Road) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.begin(b"data: [DONE]\n\n")
            await asyncio.sleep(0)
            await peer.send(b"0\r\n\r\n")

    server = await road.serve(script)
    client = road.client(server.port, max_connections=1)
    for _ in range(10):
        exchange = await ask(client)
        assert await exchange.read() == b"data: [DONE]\n\n"
        await exchange.close(expect_end=True)
    # The end arrives in the background, and the next exchange waits for it.
    assert len(server.peers) == 1


async def test_an_expected_end_that_does_not_come(road: Road) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.begin(b"data: [DONE]\n\n")
        await peer.send(b"4\r\nmore\r\n")
        await peer.gone()

    server = await road.serve(script)
    exchange = await ask(road.client(server.port))
    assert (await exchange.read()).startswith(b"data: [DONE]\n\n")
    await exchange.close(expect_end=True)
    async with asyncio.timeout(SEEN_S):
        await server.peers[0].left.wait()


async def test_closing_twice_and_reading_after(road: Road) -> None:
    server = await road.serve(echo)
    client = road.client(server.port)
    old = await ask(client, b"old")
    assert await whole(old) == b"old"
    await old.close()
    await old.close()
    first, second = await ask(client, b"first"), await ask(client, b"second")
    await old.close()  # must not touch the connection's next exchange
    with pytest.raises(UpstreamError):
        await old.read()
    assert [await whole(first), await whole(second)] == [b"first", b"second"]
    await first.close()
    await second.close()


async def test_closing_while_another_task_reads(road: Road) -> None:
    server = await road.serve(dribble)
    exchange = await ask(road.client(server.port))
    assert await exchange.read() == b"first"
    reading = asyncio.ensure_future(exchange.read())
    await asyncio.sleep(0)
    await exchange.close()
    with pytest.raises(UpstreamError):
        await reading
    async with asyncio.timeout(SEEN_S):
        await server.peers[0].left.wait()


@pytest.mark.parametrize("script", [dribble, silent])
async def test_closing_the_client(road: Road, script: Script) -> None:
    server = await road.serve(script)
    client = road.client(server.port)

    async def run() -> None:
        await whole(await ask(client))

    running = asyncio.ensure_future(run())
    while not server.requests:
        await asyncio.sleep(0)
    await asyncio.sleep(0.02)
    await client.close()
    with pytest.raises(UpstreamError):
        await running
    with pytest.raises(UpstreamError):
        await ask(client)


async def test_closing_the_client_drops_idle_connections(road: Road) -> None:
    server = await road.serve(echo)
    client = road.client(server.port)
    await told(client)
    await client.close()
    async with asyncio.timeout(SEEN_S):
        await server.peers[0].left.wait()


async def test_a_body_until_close_is_not_whole_when_we_closed(road: Road) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await peer.gone()

    server = await road.serve(script)
    client = road.client(server.port)
    exchange = await ask(client)
    assert await exchange.read() == b"abc"
    reading = asyncio.ensure_future(exchange.read())
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(UpstreamError):
        await reading
