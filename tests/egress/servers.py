"""Engines and proxies of the egress tests: real sockets that do on the wire what a script says.

`tls/` holds a certificate for localhost and 127.0.0.1 and the authority that signed it, valid until 2126 and trusted by
nothing but these tests (openssl req -x509, openssl x509 -req -CA; the authority's key was thrown away). `other-…` are
such a pair again, `client…` a client's certificate, its key and its authority.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

TLS = Path(__file__).parent / "tls"
CA_PATH = TLS / "ca.pem"


@dataclass
class Request:
    line: bytes
    headers: dict[bytes, bytes]
    body: bytes


@dataclass
class Peer:
    """One connection, seen from the server."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: list[Request]
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def head(self) -> Request:
        """Read a request without its body."""
        line, _, rest = (await self.reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
        pairs = (item.split(b":", 1) for item in rest.split(b"\r\n") if item)
        request = Request(line, {name.lower(): value.strip() for name, value in pairs}, b"")
        self.seen.append(request)
        return request

    async def request(self) -> Request:
        request = await self.head()
        request.body = await self.reader.readexactly(int(request.headers.get(b"content-length", b"0")))
        return request

    async def send(self, *parts: bytes) -> None:
        """Each part in a write of its own, with time to arrive before the next."""
        for part in parts:
            if self.writer.is_closing():  # a closed transport of uvloop raises RuntimeError
                raise ConnectionResetError
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def answer(self, body: bytes, *more: bytes) -> None:
        lines = b"".join(line + b"\r\n" for line in more)
        await self.send(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (lines, len(body), body))

    async def begin(self, first: bytes = b"first") -> None:
        """The headers and one chunk of an answer that goes on."""
        await self.send(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(first), first)
        )

    async def gone(self) -> None:
        """Wait until the client has gone."""
        with suppress(ConnectionError, ssl.SSLError):
            while await self.reader.read(65536):
                pass
        self.left.set()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Server:
    """A listening socket; every connection runs the script, and is closed at its end."""

    script: Script
    peers: list[Peer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        peer = Peer(len(self.peers), reader, writer, self.requests)
        self.peers.append(peer)
        try:
            await self.script(peer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError):
            pass  # the client left, or the test is over
        finally:
            peer.left.set()
            writer.close()
            self.tasks.discard(task)


def server_tls(*protocols: str, name: str = "server.pem", clients: str = "") -> ssl.SSLContext:
    """`clients` is the authority whose certificates clients must have."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / name)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(TLS / clients)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


@asynccontextmanager
async def serve(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(script)
    listener = await asyncio.start_server(server.run, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        # Awaited from before the close: else it says at once that all is closed (CPython issue 79033).
        all_closed = asyncio.ensure_future(listener.wait_closed())
        await asyncio.sleep(0)
        listener.close()
        tasks = list(server.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for peer in server.peers:
            peer.writer.transport.abort()
        async with asyncio.timeout(20):
            await all_closed  # connections too that had not come as far as a peer


# -- an HTTP proxy: CONNECT for https, absolute form for http -------------------------------------------------------


async def proxy(peer: Peer) -> None:
    """The script of a proxy that forwards to 127.0.0.1, requests one after the other."""
    request = await peer.request()
    method, url, _ = request.line.split(b" ")
    if url.startswith(b"/"):
        await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        return
    address = url if method == b"CONNECT" else url.split(b"/")[2]
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(b":")[2]))
    except OSError:
        await peer.send(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
        return
    back = asyncio.ensure_future(_pump(reader, peer.writer))
    try:
        if method == b"CONNECT":
            await peer.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            await _pump(peer.reader, writer)
        while method != b"CONNECT" and not writer.is_closing():
            writer.write(_origin_form(request))
            await writer.drain()
            request = await peer.request()
    finally:
        writer.transport.abort()
        back.cancel()
        await asyncio.gather(back, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while (data := await reader.read(65536)) and not writer.is_closing():
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        writer.transport.abort()
    finally:
        writer.close()


def _origin_form(request: Request) -> bytes:
    method, url, version = request.line.split(b" ")
    lines = [b"%b /%b %b" % (method, url.split(b"/", 3)[3], version)]
    lines += [b"%b: %b" % pair for pair in request.headers.items() if not pair[0].startswith(b"proxy-")]
    return b"\r\n".join(lines) + b"\r\n\r\n" + request.body
