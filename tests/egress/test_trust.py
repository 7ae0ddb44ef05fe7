"""Trust, proxies with passwords, and nothing from the environment."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest
from egress import servers
from egress.roads import SEEN_S, ask, told
from egress.servers import CA_PATH, Peer

from tidegate.config import HttpEngineConfig
from tidegate.egress.exchange import Client, Timeouts
from tidegate.egress.open import open_client
from tidegate.egress.pool import HttpClient
from tidegate.egress.tls import TlsFiles
from tidegate.errors import UpstreamError, UpstreamUnreachable

pytestmark = pytest.mark.anyio

AMPLE = Timeouts(20, 20, 20, 20)
TRUST = TlsFiles(CA_PATH)
MUTUAL = TlsFiles(CA_PATH, servers.TLS / "client.pem", servers.TLS / "client-key.pem")


def remote(
    port: int, *, proxy: str | None = None, files: TlsFiles = TRUST, timeouts: Timeouts = AMPLE
) -> Client:
    url = f"https://localhost:{port}/v1"
    return HttpClient(url, timeouts, proxy=proxy, max_connections=1024, files=files)


async def ok(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.answer(b"ok")


# -- trust and proxies ----------------------------------------------------------------------------------------------


async def test_a_certificate_nobody_vouches_for() -> None:
    async with servers.serve(ok, servers.server_tls()) as server:
        client = remote(server.port, files=TlsFiles())
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


async def test_a_proxy_that_closes_or_talks_nonsense() -> None:
    async def closes(peer: Peer) -> None:
        await peer.request()

    async def talks(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"200 fine\r\n\r\n")

    async def floods(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n" + b"x-long: y\r\n" * 10_000)
        await peer.gone()

    for script in (closes, talks, floods):
        async with servers.serve(script) as relay:
            client = remote(1, proxy=f"http://127.0.0.1:{relay.port}")
            with pytest.raises(UpstreamUnreachable) as caught:
                await ask(client)
            assert "proxy" in str(caught.value.__cause__)
            await client.close()


@pytest.mark.parametrize("secure", [False, True], ids=["http engine", "https engine"])
async def test_a_proxy_that_speaks_tls_itself(secure: bool) -> None:
    tls = servers.server_tls() if secure else None
    async with servers.serve(ok, tls) as server, servers.serve(servers.proxy, servers.server_tls()) as relay:
        url = f"{'https' if secure else 'http'}://localhost:{server.port}/v1"
        proxy = f"https://us%40er:secret@localhost:{relay.port}"
        client = HttpClient(url, AMPLE, max_connections=4, proxy=proxy, files=TRUST)
        for _ in range(3):
            assert await told(client, b"x" * 100_000) == b"ok"
        assert relay.requests[0].headers[b"proxy-authorization"] == b"Basic dXNAZXI6c2VjcmV0"
        assert len(server.peers) == 1
        await client.close()


# -- who we are ---------------------------------------------------------------------------------------------------------


async def test_an_engine_that_wants_a_client_certificate_gets_it() -> None:
    async with servers.serve(ok, servers.server_tls(clients="client-ca.pem")) as server:
        for files, welcome in ((MUTUAL, True), (TRUST, False)):
            client = remote(server.port, files=files)
            if welcome:
                assert await told(client) == b"ok"
            else:
                with pytest.raises(UpstreamError):
                    await ask(client)
            await client.close()
        assert len(server.requests) == 1


async def test_the_client_certificate_of_the_config_goes_through_a_tunnel_too() -> None:
    async with (
        servers.serve(ok, servers.server_tls(clients="client-ca.pem")) as server,
        servers.serve(servers.proxy) as relay,
    ):
        config = HttpEngineConfig(
            kind="openai",
            url=f"https://localhost:{server.port}/v1",
            ca_path=CA_PATH,
            client_certificate_path=servers.TLS / "client.pem",
            client_key_path=servers.TLS / "client-key.pem",
            proxy=f"http://127.0.0.1:{relay.port}",
        )
        client = open_client(config)
        assert await told(client) == b"ok"
        await client.close()


# -- files that change ----------------------------------------------------------------------------------------------------


async def told_on_a_new_connection(client: Client, server: servers.Server) -> bytes:
    """The connection before it is dropped by the server."""
    for peer in server.peers:
        peer.writer.close()
        await peer.left.wait()
    return await told(client)


async def test_an_authority_that_changes_is_trusted_without_a_restart(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes((servers.TLS / "other-ca.pem").read_bytes())
    async with servers.serve(ok, servers.server_tls()) as server:
        client = remote(server.port, files=TlsFiles(ca))
        with pytest.raises(UpstreamUnreachable):
            await ask(client)
        replace(ca, CA_PATH)
        assert await told(client) == b"ok"
        await client.close()


@pytest.mark.parametrize("broken", [b"", b"no PEM", None], ids=["empty", "no PEM", "gone"])
async def test_files_that_cannot_be_used_leave_the_former_ones_in_force(
    broken: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = tmp_path / "client.pem", tmp_path / "key.pem"
    replace(certificate, servers.TLS / "client.pem")
    replace(key, servers.TLS / "client-key.pem")
    async with servers.serve(ok, servers.server_tls(clients="client-ca.pem")) as server:
        client = remote(server.port, files=TlsFiles(CA_PATH, certificate, key))
        assert await told(client) == b"ok"
        if broken is None:
            key.unlink()
        else:
            key.write_bytes(broken)
        assert await told_on_a_new_connection(client, server) == b"ok"
        assert "cannot be used" in caplog.text
        replace(key, servers.TLS / "client-key.pem")
        assert await told_on_a_new_connection(client, server) == b"ok"
        await client.close()


def replace(path: Path, by: Path) -> None:
    """As certificates are renewed: whole at once."""
    following = path.with_suffix(".new")
    following.write_bytes(by.read_bytes())
    following.replace(path)


async def test_no_proxy_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with servers.serve(ok, servers.server_tls()) as server:
        client = remote(server.port)
        assert await told(client) == b"ok"
        await client.close()


async def test_a_header_that_is_not_ascii_arrives_as_it_is() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"ok", b"x-name: caf\xe9", b"x-two: a", b"x-two: b")

    async with servers.serve(script, servers.server_tls()) as server:
        client = remote(server.port)
        exchange = await ask(client)
        assert exchange.headers[:3] == [(b"x-name", b"caf\xe9"), (b"x-two", b"a"), (b"x-two", b"b")]
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
