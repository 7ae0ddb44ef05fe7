"""Every road from a client to an engine: plain TCP, TLS, and a proxy to either."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from egress import servers
from egress.servers import CA_PATH, Peer, Script, Server

from tidegate.egress.exchange import Client, Exchange, Timeouts
from tidegate.egress.pool import HttpClient
from tidegate.egress.tls import TlsFiles

# Seconds; for whatever a test is not about.
AMPLE = 20.0
# A client that leaves must free the engine. No time limit of a client here is shorter, so none can stand in for it.
SEEN_S = 15.0


@dataclass
class Road:
    """A way from a client to the server of a test."""

    name: str
    stack: AsyncExitStack
    proxy_url: str | None = None

    @property
    def secure(self) -> bool:
        return self.name in ("tls", "tunnel")

    @property
    def direct(self) -> bool:
        return self.proxy_url is None

    async def serve(self, script: Script) -> Server:
        tls = servers.server_tls("http/1.1") if self.secure else None
        return await self.stack.enter_async_context(servers.serve(script, tls))

    def client(self, port: int, *, max_connections: int = 64, **seconds: float) -> Client:
        times = Timeouts(**({"connect": AMPLE, "first_byte": AMPLE, "idle": AMPLE, "total": AMPLE} | seconds))
        url = f"{'https' if self.secure else 'http'}://127.0.0.1:{port}/v1"
        client = HttpClient(
            url, times, max_connections=max_connections, proxy=self.proxy_url, files=TlsFiles(CA_PATH)
        )
        self.stack.push_async_callback(client.close)
        return client

    def client_of_dead(self, port: int, **seconds: float) -> Client:
        """A client whose first hop is `port`."""
        if self.proxy_url is not None:
            self.proxy_url = f"http://127.0.0.1:{port}"
        return self.client(port, **seconds)


async def ask(client: Client, body: bytes = b"{}", total_s: float = AMPLE) -> Exchange:
    target = client.target("POST", "chat", [(b"content-type", b"application/json")])
    return await client.send(target, [(b"x-request-id", b"r1")], body, total_s)


async def whole(exchange: Exchange) -> bytes:
    parts: list[bytes] = []
    while part := await exchange.read():
        parts.append(part)
    return b"".join(parts)


async def told(client: Client, body: bytes = b"{}") -> bytes:
    """One exchange from end to end."""
    exchange = await ask(client, body)
    try:
        return await whole(exchange)
    finally:
        await exchange.close()


async def echo(peer: Peer) -> None:
    while True:
        request = await peer.request()
        await peer.answer(request.body)


async def dribble(peer: Peer) -> None:
    """One chunk, then silence until the client leaves."""
    await peer.request()
    await peer.begin()
    await peer.gone()


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.gone()
