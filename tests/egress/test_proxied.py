"""What only the remote client does: HTTP/2, trust, proxies with passwords, and nothing from the environment."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest
from egress import http2, servers
from egress.http2 import Stream
from egress.roads import SEEN_S
from egress.servers import CA_PEM, Peer

from tidegate.config import HttpEngineConfig
from tidegate.egress.exchange import Client, Exchange, Timeouts
from tidegate.egress.open import open_client
from tidegate.egress.proxied import EXCHANGES_A_LANE, ProxiedClient
from tidegate.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable

pytestmark = pytest.mark.anyio

AMPLE = Timeouts(20, 20, 20, 20)


def remote(
    port: int, *, proxy: str | None = None, ca: bytes | None = CA_PEM, timeouts: Timeouts = AMPLE
) -> Client:
    url = f"https://localhost:{port}/v1"
    return ProxiedClient(url, timeouts, proxy=proxy, max_connections=1024, ca_pem=ca)


async def ask(client: Client, body: bytes = b"{}") -> Exchange:
    return await client.send(client.target("POST", "chat", []), [], body, 20)


async def told(client: Client, body: bytes = b"{}") -> bytes:
    exchange = await ask(client, body)
    parts: list[bytes] = []
    while part := await exchange.read():
        parts.append(part)
    await exchange.close()
    return b"".join(parts)


async def ok(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.answer(b"ok")


# -- HTTP/2 ---------------------------------------------------------------------------------------------------------


async def echo2(stream: Stream) -> None:
    stream.headers()
    await stream.data(stream.body)
    await stream.data(b"")
    await stream.data(b"!", end=True)


async def begin2(stream: Stream) -> None:
    stream.headers()
    await stream.data(b"first")
    await stream.reset.wait()


async def with_http2(
    answer: Callable[[Stream], Awaitable[None]],
    test: Callable[[Client, list[http2.Link]], Awaitable[None]],
    timeouts: Timeouts = AMPLE,
) -> None:
    links: list[http2.Link] = []
    async with servers.serve(http2.script(answer, links), servers.server_tls("h2", "http/1.1")) as server:
        client = remote(server.port, timeouts=timeouts)
        try:
            await test(client, links)
        finally:
            await client.close()


async def test_http2_when_the_server_offers_it() -> None:
    async def test(client: Client, links: list[http2.Link]) -> None:
        for i in range(3):
            exchange = await ask(client, b"%d" % i)
            assert exchange.status == 200
            assert await exchange.read() == b"%d" % i
            assert await exchange.read() == b"!"  # the empty frame between is not the end
            assert await exchange.read() == b""
            await exchange.close()
        assert len(links) == 1

    await with_http2(echo2, test)


async def test_more_exchanges_than_one_connection_carries() -> None:
    """Servers allow 100 streams on a connection; the rest must not wait for them."""
    count = EXCHANGES_A_LANE + 20

    async def test(client: Client, links: list[http2.Link]) -> None:
        held = await asyncio.gather(*(ask(client) for _ in range(count)))
        assert [await exchange.read() for exchange in held] == [b"first"] * count
        assert sum(len(link.streams) for link in links) == count
        for exchange in held:
            await exchange.close()

    await with_http2(begin2, test)


async def test_an_early_close_resets_its_stream_alone() -> None:
    async def test(client: Client, links: list[http2.Link]) -> None:
        leaving, staying = await ask(client), await ask(client)
        assert [await leaving.read(), await staying.read()] == [b"first", b"first"]
        first, second = links[0].streams.values()
        await leaving.close()
        async with asyncio.timeout(SEEN_S):
            await first.reset.wait()
        await second.data(b"more")
        assert await staying.read() == b"more"
        await staying.close()

    await with_http2(begin2, test)


async def test_a_slow_reader_makes_its_stream_wait_alone() -> None:
    async def flood(stream: Stream) -> None:
        stream.headers()
        if stream.body == b"small":
            await stream.data(b"ok", end=True)
        while stream.body != b"small":
            await stream.data(b"x" * 16384)

    async def test(client: Client, links: list[http2.Link]) -> None:
        slow = [await ask(client) for _ in range(4)]
        async with asyncio.timeout(SEEN_S):
            assert await told(client, b"small") == b"ok"
        await asyncio.sleep(0.1)
        sent = [stream.sent for stream in links[0].streams.values()]
        assert max(sent) <= 2**20
        for exchange in slow:
            await exchange.close()

    await with_http2(flood, test)


async def test_a_reset_stream_is_an_error() -> None:
    async def cut(stream: Stream) -> None:
        stream.headers()
        await stream.data(b"first")
        stream.frame(http2.RST_STREAM, 0, (2).to_bytes(4, "big"))

    async def test(client: Client, links: list[http2.Link]) -> None:
        exchange = await ask(client)
        assert await exchange.read() == b"first"
        with pytest.raises(UpstreamError):
            await exchange.read()
        await exchange.close()

    await with_http2(cut, test)


async def test_timeouts_over_http2() -> None:
    async def test(client: Client, links: list[http2.Link]) -> None:
        exchange = await ask(client)
        assert await exchange.read() == b"first"
        with pytest.raises(UpstreamTimeout, match="sent nothing"):
            await exchange.read()
        async with asyncio.timeout(SEEN_S):
            await links[0].streams[1].reset.wait()

    await with_http2(begin2, test, Timeouts(20, 20, 0.5, 20))


# -- trust and proxies ----------------------------------------------------------------------------------------------


async def test_a_certificate_nobody_vouches_for() -> None:
    async with servers.serve(ok, servers.server_tls()) as server:
        client = remote(server.port, ca=None)
        with pytest.raises(UpstreamUnreachable) as caught:
            await ask(client)
        assert "certificate" in repr(caught.value.__cause__)
        assert not server.requests
        await client.close()


async def test_the_authority_of_the_config_is_trusted() -> None:
    async with servers.serve(ok, servers.server_tls()) as server:
        url = f"https://localhost:{server.port}/v1"
        client = open_client(HttpEngineConfig(kind="openai", url=url, ca_path=servers.TLS / "ca.pem"))
        assert await told(client) == b"ok"
        await client.close()


async def test_a_server_that_does_not_speak_tls() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with servers.serve(script) as server:
        client = remote(server.port)
        with pytest.raises(UpstreamUnreachable):
            await ask(client)
        await client.close()


async def test_a_handshake_that_never_ends() -> None:
    async with servers.serve(Peer.gone) as server:
        client = remote(server.port, timeouts=Timeouts(0.1, 20, 20, 20))
        with pytest.raises(UpstreamUnreachable, match="in time"):
            await ask(client)
        await client.close()


async def test_the_proxy_gets_its_password_and_the_engine_does_not() -> None:
    async with (
        servers.serve(ok, servers.server_tls()) as server,
        servers.serve(servers.proxy) as relay,
    ):
        client = remote(server.port, proxy=f"http://user:secret@127.0.0.1:{relay.port}")
        assert await told(client) == b"ok"
        assert relay.requests[0].line.startswith(b"CONNECT localhost:")
        assert relay.requests[0].headers[b"proxy-authorization"] == b"Basic dXNlcjpzZWNyZXQ="
        assert b"proxy-authorization" not in server.requests[0].headers
        await client.close()


@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"502 Bad Gateway"])
async def test_a_proxy_that_refuses(status: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % status)

    async with servers.serve(script) as relay:
        client = remote(1, proxy=f"http://127.0.0.1:{relay.port}")
        with pytest.raises(UpstreamUnreachable):
            await ask(client)
        await client.close()


async def test_no_proxy_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with servers.serve(ok, servers.server_tls()) as server:
        client = remote(server.port)
        assert await told(client) == b"ok"
        await client.close()


async def test_a_header_that_is_not_ascii_costs_only_itself() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"ok", b"x-name: caf\xe9", b"x-two: a", b"x-two: b")

    async with servers.serve(script, servers.server_tls()) as server:
        client = remote(server.port)
        exchange = await ask(client)
        assert exchange.headers == [(b"x-two", b"a"), (b"x-two", b"b"), (b"content-length", b"2")]
        await exchange.close()
        await client.close()


async def test_an_exchange_forgotten_open_ends_with_its_client() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.begin()
        await peer.gone()

    async with servers.serve(script, servers.server_tls()) as server:
        client = remote(server.port)
        exchange = await ask(client)
        del exchange
        gc.collect()
        await client.close()
        async with asyncio.timeout(SEEN_S):
            await server.peers[0].left.wait()
