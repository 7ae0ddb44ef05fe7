"""Connects to an engine: directly or through an HTTP proxy, with or without TLS.

Through a proxy, `https://` uses a tunnel (CONNECT; RFC 9110, 9.3.6), and the engine gets the same bytes as without a proxy.
An `http://` request goes to the proxy itself, with the whole URL in the request line (RFC 9112, 3.2.2).
"""

from __future__ import annotations

import asyncio
import errno
from base64 import b64encode
from collections.abc import Callable
from typing import cast
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from tidegate.egress.addresses import Addresses
from tidegate.egress.exchange import Headers
from tidegate.egress.tls import SYSTEM_ONLY, ClientTls, TlsFiles

MAX_PROXY_HEAD_BYTES = 64 * 1024


class ProxyRefused(OSError):
    """The proxy refused the tunnel to the engine. `strerror` is the reason."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EPROTO, why)


class Way:
    """The route to the host of one URL: its addresses, its proxy and its TLS settings.

    Every request on this route puts `before_path` before its path and includes `headers`.
    """

    def __init__(self, url: str, *, proxy: str | None = None, files: TlsFiles = SYSTEM_ONLY) -> None:
        """Read the TLS files and prepare the tunnel request. Raises OSError for files that cannot be used."""
        engine, relay = urlsplit(url), urlsplit(proxy) if proxy else None
        self.authority = engine.netloc
        self.is_tls = engine.scheme == "https"
        self._host = engine.hostname or ""
        self._tls = ClientTls(files) if self.is_tls else None
        self._relay_host = (relay and relay.hostname) or ""
        self._relay_tls = ClientTls(TlsFiles(files.ca_path)) if relay and relay.scheme == "https" else None
        credentials = _credentials(relay) if relay else []
        through = relay is not None and self.is_tls
        self._connect = _connect_request(self._host, _port(engine), credentials) if through else None
        asks_relay = relay is not None and not through
        self.before_path = f"http://{engine.netloc}" if asks_relay else ""
        self.headers: Headers = credentials if asks_relay else []
        first = relay or engine
        self._addresses = Addresses(first.hostname or "", _port(first))

    async def connect(self, make: Callable[[], asyncio.BaseProtocol]) -> None:
        """Connect the protocol that `make` creates to the engine.

        Raises OSError (ssl.SSLError and ProxyRefused are subclasses) and UnicodeError.
        """
        tls = await self._tls.context() if self._tls else None
        relay_tls = await self._relay_tls.context() if self._relay_tls else None
        loop = asyncio.get_running_loop()
        one = await self._addresses.connect()
        if self._connect is None:
            context, host = (tls, self._host) if tls else (relay_tls, self._relay_host)
            await loop.create_connection(
                make, sock=one, ssl=context, server_hostname=host if context else None
            )
            return
        assert tls is not None, "only TLS goes through a tunnel"
        transport, tunnel = await loop.create_connection(
            _Tunnel, sock=one, ssl=relay_tls, server_hostname=self._relay_host if relay_tls else None
        )
        try:
            await tunnel.open(self._connect)
            protocol = make()
            inner = await loop.start_tls(transport, protocol, tls, server_hostname=self._host)
        except (OSError, asyncio.CancelledError):
            transport.abort()
            raise
        assert inner is not None, "the transport is not closing"
        protocol.connection_made(inner)


class _Tunnel(asyncio.Protocol):
    """The CONNECT request to a proxy and the head of its response."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def open(self, request: bytes) -> None:
        """Ask for the tunnel. Raises ProxyRefused."""
        assert self._transport is not None, "it is connected"
        self._transport.write(request)
        line, _, _ = (await self._answered).partition(b"\r\n")
        version, _, status = line.partition(b" ")
        if not version.startswith(b"HTTP/1.") or status[:1] != b"2":
            raise ProxyRefused(f"the proxy answered CONNECT with {line[:200].decode('latin-1')!r}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._answered.done():
            return
        if b"\r\n\r\n" in self._head:
            self._answered.set_result(self._head)
        elif len(self._head) > MAX_PROXY_HEAD_BYTES:
            self._answered.set_exception(ProxyRefused("the proxy's headers are too large"))

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self._answered.done():
            self._answered.set_exception(ProxyRefused("the proxy closed the connection"))


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _credentials(relay: SplitResult) -> Headers:
    """Return the header with the user and password of the proxy's URL, if it has them (RFC 7617)."""
    if relay.username is None:
        return []
    pair = unquote_to_bytes(relay.username) + b":" + unquote_to_bytes(relay.password or "")
    return [(b"proxy-authorization", b"Basic " + b64encode(pair))]


def _connect_request(host: str, port: int, credentials: Headers) -> bytes:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1".encode(), b"host: " + authority.encode()]
    lines += [b"%b: %b" % header for header in credentials]
    return b"\r\n".join([*lines, b"", b""])
