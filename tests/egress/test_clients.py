"""What both clients promise over every road: answers, answers that are none, connections that cannot be had."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import ExitStack

import pytest
from egress.roads import AMPLE, Road, ask, dribble, echo, told, whole
from egress.servers import Peer

from tidegate.errors import DeadlineExceeded, UpstreamError, UpstreamTimeout, UpstreamUnreachable

pytestmark = pytest.mark.anyio


# -- answers --------------------------------------------------------------------------------------------------------


async def test_request_and_answer(road: Road) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b'{"ok":1}', b"Content-Type: application/json", b"X-Two: a", b"X-Two: b")

    server = await road.serve(script)
    exchange = await ask(road.client(server.port), b'{"model":"m"}')
    assert exchange.status == 200
    assert [value for name, value in exchange.headers if name == b"x-two"] == [b"a", b"b"]
    assert (b"content-type", b"application/json") in exchange.headers
    assert await whole(exchange) == b'{"ok":1}'
    assert await exchange.read() == b""
    await exchange.close()
    [request] = server.requests
    assert request.line == b"POST /v1/chat HTTP/1.1"
    assert request.body == b'{"model":"m"}'
    assert request.headers[b"accept-encoding"] == b"identity"
    assert request.headers[b"content-type"] == b"application/json"
    assert request.headers[b"x-request-id"] == b"r1"
    assert request.headers[b"host"] == b"127.0.0.1:%d" % server.port
    assert b"cookie" not in request.headers
    assert b"proxy-authorization" not in request.headers


async def test_connections_are_used_again(road: Road) -> None:
    server = await road.serve(echo)
    client = road.client(server.port)
    for i in range(20):
        assert await told(client, b"%d" % i) == b"%d" % i
    assert len(server.peers) == 1


async def test_concurrent_exchanges_do_not_mix(road: Road) -> None:
    server = await road.serve(echo)
    client = road.client(server.port)
    bodies = [b"%d" % i * 1000 for i in range(40)]
    assert await asyncio.gather(*(told(client, body) for body in bodies)) == bodies


async def test_a_stream_cut_at_every_byte(road: Road) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\n\r\n"
    )

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(*(answer[i : i + 1] for i in range(len(answer))))

    client = road.client((await road.serve(script)).port)
    assert await told(client) == b"hello, world"
    assert await told(client) == b"hello, world"


async def test_chunks_arrive_as_they_are_sent(road: Road) -> None:
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.begin(b"one")
        await more.wait()
        await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

    exchange = await ask(road.client((await road.serve(script)).port))
    assert await exchange.read() == b"one"
    more.set()
    assert await exchange.read() == b"two"
    assert await exchange.read() == b""
    await exchange.close()


async def test_a_body_until_the_connection_closes(road: Road) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", b"abc", b"def")

    server = await road.serve(script)
    client = road.client(server.port)
    assert await told(client) == b"abcdef"
    assert await told(client) == b"abcdef"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_answers_without_a_body(road: Road, status: bytes) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 %b\r\n\r\n" % status)

    client = road.client((await road.serve(script)).port)
    assert await told(client) == b""
    assert await told(client) == b""


async def test_interim_answers_are_skipped(road: Road) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
        await peer.answer(b"ok")

    exchange = await ask(road.client((await road.serve(script)).port))
    assert exchange.status == 200
    assert b"link" not in dict(exchange.headers)
    assert await whole(exchange) == b"ok"
    await exchange.close()


async def test_nothing_is_followed_kept_or_decoded(road: Road) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(
                b"HTTP/1.1 302 Found\r\nlocation: /v1/other\r\nset-cookie: a=b\r\ncontent-encoding: gzip\r\n"
                b"content-length: 3\r\n\r\n\x1f\x8b\x08"
            )

    server = await road.serve(script)
    client = road.client(server.port)
    exchange = await ask(client)
    assert exchange.status == 302
    assert await whole(exchange) == b"\x1f\x8b\x08"
    await exchange.close()
    await told(client)
    assert len(server.requests) == 2
    assert not any(name in server.requests[1].headers for name in (b"cookie", b"referer"))


async def test_an_answer_before_the_request_was_sent(road: Road) -> None:
    async def script(peer: Peer) -> None:
        while True:
            request = await peer.head()
            await peer.answer(b"early")
            await peer.reader.readexactly(int(request.headers[b"content-length"]))

    client = road.client((await road.serve(script)).port)
    assert await told(client, b"x" * 8_000_000) == b"early"
    assert await told(client, b"y") == b"early"


@pytest.mark.parametrize("value", [b"key\n", b"a\r\nx-more: b"])
async def test_a_header_with_a_line_break_is_refused(road: Road, value: bytes) -> None:
    client = road.client(1)
    with pytest.raises(ValueError, match="header"):
        client.target("POST", "chat", [(b"authorization", value)])


# -- answers that are none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"no HTTP at all\r\n\r\n", id="garbage"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n" + b"x-large: %b\r\n" % (b"y" * 1000) * 1000 + b"\r\n", id="large"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-le", id="cut in the headers"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_no_answer(road: Road, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    server = await road.serve(script)
    with pytest.raises(UpstreamError) as caught:
        await ask(road.client(server.port))
    assert type(caught.value) not in (UpstreamUnreachable, UpstreamTimeout)  # it was sent, and answered
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"content-length: 10\r\n\r\nabc", id="length"),
        pytest.param(b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", id="between chunks"),
        pytest.param(b"transfer-encoding: chunked\r\n\r\n9\r\nabc", id="inside a chunk"),
        pytest.param(b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n", id="a chunk without a size"),
    ],
)
async def test_a_broken_body_is_read_to_its_end_and_then_an_error(road: Road, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n" + answer)

    server = await road.serve(script)
    exchange = await ask(road.client(server.port))
    await server.peers[0].left.wait()  # the break is there before anything is read
    assert await exchange.read() == b"abc"
    for _ in range(2):
        with pytest.raises(UpstreamError):
            await exchange.read()
    await exchange.close()


async def test_a_break_after_the_first_byte_is_never_retried(road: Road) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"ok")
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-le")

    server = await road.serve(script)
    client = road.client(server.port)
    assert await told(client) == b"ok"
    with pytest.raises(UpstreamError):
        await ask(client)
    assert [len(server.peers), len(server.requests)] == [1, 2]


async def test_a_closed_client_says_when_to_try_again(road: Road) -> None:
    client = road.client(1)
    await client.close()
    with pytest.raises(UpstreamUnreachable) as refused:
        await ask(client)
    assert refused.value.retry_after_s == 1


async def test_a_connection_closed_while_idle_is_replaced(road: Road) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        await peer.answer(request.body)

    server = await road.serve(script)
    client = road.client(server.port)
    for i in range(5):
        assert await told(client, b"%d" % i) == b"%d" % i
        await server.peers[i].left.wait()
    assert len(server.requests) == 5


@pytest.mark.parametrize("apart", [False, True])
async def test_unsolicited_bytes_reach_no_other_request(road: Road, apart: bool) -> None:
    stray = b"HTTP/1.1 404 Not Found\r\nx-stray: 1\r\ncontent-length: 5\r\n\r\nstray"

    async def script(peer: Peer) -> None:
        request = await peer.request()
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n" + request.body
        await peer.send(*([answer, stray] if apart else [answer + stray]))
        await peer.gone()

    server = await road.serve(script)
    client = road.client(server.port)
    for i in range(3):
        exchange = await ask(client, b"%d" % i)
        assert exchange.status == 200
        assert b"x-stray" not in dict(exchange.headers)
        assert await whole(exchange) == b"%d" % i
        await exchange.close()
        async with asyncio.timeout(AMPLE):
            await server.peers[i].left.wait()  # the connection is not kept


# -- no connection --------------------------------------------------------------------------------------------------


async def test_refused(road: Road) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UpstreamUnreachable) as caught:
        await ask(road.client_of_dead(port))
    assert caught.value.retry_after_s


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no full backlog on loopback")
async def test_connect_timeout(road: Road) -> None:
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(3):  # fill the backlog: what comes now is not answered
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        client = road.client_of_dead(deaf.getsockname()[1], connect=0.15)
        with pytest.raises(UpstreamUnreachable, match="in time"):
            await ask(client)


async def test_who_finds_all_connections_in_use_waits_for_one_up_to_the_deadline(road: Road) -> None:
    server = await road.serve(dribble)
    client = road.client(server.port, max_connections=2)
    held = [await ask(client), await ask(client)]
    with pytest.raises(DeadlineExceeded, match="waiting for a connection"):
        await ask(client, total_s=0.05)
    waiting = asyncio.ensure_future(ask(client))
    await asyncio.sleep(0)
    assert len(server.requests) == 2
    await held.pop().close()
    held.append(await waiting)
    for exchange in held:
        await exchange.close()
