"""The way to an engine through an HTTP proxy, with HTTP/2 where the engine has it: `pyreqwest` (reqwest, hyper, rustls).

What is Rust's: connections, TLS, framing, the connect timeout. What is ours: the other three timeouts, the limit on
exchanges, the words of the errors. Nothing is retried, redirected, decompressed or taken from the environment here.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import cast

from pyreqwest.client import Client as RustClient
from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import DecodeError, PyreqwestError, RequestError, RequestTimeoutError
from pyreqwest.http import HeaderMap, Url
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from tidegate.egress.exchange import Body, Exchange, Headers, Target, Timeouts
from tidegate.errors import ConnectionsInUse, UpstreamError, UpstreamTimeout, UpstreamUnreachable

# Load balancers in front of providers close idle connections after 60 s or more; a handshake costs two round trips.
IDLE_S = 30.0
# Bytes an HTTP/2 stream may be ahead of its reader; above this the engine is made to wait.
BUFFER_BYTES = 256 * 1024
MAX_WINDOW = 2**31 - 1  # RFC 9113, 6.9.1
# A Rust client keeps one HTTP/2 connection an engine, and servers allow as few as 100 streams on it (RFC 9113, 6.5.2).
EXCHANGES_A_LANE = 100
# How long the end of an answer that says nothing more may take to arrive.
END_S = 0.05
# The Rust side's own end of an exchange: late enough never to come before ours. See `ProxiedClient.send`.
GRACE_S = 1.0
# How hyper marks an error that came before a connection stood: nothing was sent.
CONNECTING = "client error (Connect)"


class Lane:
    """One Rust client and the exchanges on it."""

    __slots__ = ("client", "in_flight")

    def __init__(self, client: RustClient) -> None:
        self.client = client
        self.in_flight = 0


class ProxiedExchange:
    """An answer that arrives through Rust. Satisfies `Exchange`."""

    def __init__(
        self, pool: ProxiedClient, lane: Lane, request: StreamRequest, response: Response, ends_at: float
    ) -> None:
        self.status = response.status
        self.headers = _headers(response)
        self._pool = pool
        self._lane = lane
        self._request = request
        self._body = response.body_reader
        self._ends_at = ends_at
        self._waiting: asyncio.Timeout | None = None
        self._open = True

    async def read(self) -> bytes:
        """See `Exchange.read`."""
        if not self._open:
            raise UpstreamError("the exchange is closed")
        loop = asyncio.get_running_loop()
        idle = self._pool.timeouts.idle
        idle_at = loop.time() + idle
        try:
            async with asyncio.timeout_at(min(idle_at, self._ends_at)) as self._waiting:
                chunk = await self._body.read_chunk()
                while chunk is not None and not chunk:
                    chunk = await self._body.read_chunk()
        except PyreqwestError as error:
            self._settle()
            raise _translated(error) from error
        except TimeoutError as error:
            if not self._open:
                raise UpstreamError("the exchange is closed") from error
            self._settle()
            if self._ends_at <= idle_at:  # not by the clock now: a timer may fire a moment early
                raise UpstreamTimeout("the engine's total time ran out") from error
            raise UpstreamTimeout(f"the engine sent nothing for {idle:g} s") from error
        finally:
            self._waiting = None
            if not self._open:
                await self._drop()
        return b"" if chunk is None else chunk.to_bytes()

    async def close(self, *, expect_end: bool = False) -> None:
        """See `Exchange.close`; the end that is expected is awaited here, for a moment."""
        if not self._open:
            return
        self._settle()
        if self._waiting is not None:
            # Rust gives up a body only between two reads: end the read under way, which then drops it.
            if not self._waiting.expired():
                self._waiting.reschedule(0)
            return
        try:
            if expect_end:
                with suppress(PyreqwestError, TimeoutError):
                    async with asyncio.timeout(END_S):
                        await self._body.read_chunk()
        finally:
            await self._drop()

    def _settle(self) -> None:
        self._open = False
        self._pool.forget(self, self._lane)

    async def _drop(self) -> None:
        await self._request.__aexit__(None, None, None)


class ProxiedClient:
    """Connections to one engine far away. Satisfies `Client`.

    `proxy` is the URL of an HTTP proxy, with user and password where it wants them. `ca_pem` holds certificates to trust
    beside the system's.
    """

    def __init__(
        self,
        url: str,
        timeouts: Timeouts,
        *,
        proxy: str | None,
        max_connections: int,
        ca_pem: bytes | None = None,
    ) -> None:
        self.timeouts = timeouts
        self._base = url.rstrip("/")
        self._proxy = proxy
        self._ca_pem = ca_pem
        self._max_connections = max_connections
        self._in_flight = 0
        self._exchanges: set[ProxiedExchange] = set()
        # The first one now: a proxy or certificate that cannot be used should fail here.
        self._lanes = [Lane(self._build())]
        self._closed = False

    def target(self, method: str, path: str, headers: Headers, *, once: bool = False) -> Target:
        """See `Client.target`. Raises ValueError for a header that cannot be sent."""
        url = f"{self._base}/{path}"
        # An unreadable value would fail at every request: HeaderMap refuses it now.
        fixed = HeaderMap([("accept-encoding", "identity"), *_pairs(headers)])
        return Target(method, url, (Url(url), fixed), once)

    async def send(self, target: Target, headers: Headers, body: Body, total_s: float) -> Exchange:
        """See `Client.send`; the first byte's time includes connecting.

        Cancelled before the headers are there, the Rust side goes on until they come or the total time is over: pyreqwest
        0.15 does not abort a request that nobody awaits. Once there are headers, closing ends it at once.
        """
        total = min(total_s, self.timeouts.total)
        lane = self._lane()
        whole = body if isinstance(body, bytes) else b"".join(body)
        request = self._request(lane, target, headers, whole, total)
        ends_at = asyncio.get_running_loop().time() + total
        self._in_flight += 1
        lane.in_flight += 1
        try:
            response = await self._answer(request, total)
        except (UpstreamError, asyncio.CancelledError):
            self._leave(lane)
            raise
        exchange = ProxiedExchange(self, lane, request, response, ends_at)
        self._exchanges.add(exchange)
        return exchange

    async def close(self) -> None:
        """See `Client.close`."""
        self._closed = True
        for exchange in list(self._exchanges):
            await exchange.close()
        for lane in self._lanes:
            await lane.client.close()
        self._lanes.clear()  # Rust closes idle connections when nothing holds them any more

    def forget(self, exchange: ProxiedExchange, lane: Lane) -> None:
        """An exchange is over."""
        self._exchanges.discard(exchange)
        self._leave(lane)

    async def _answer(self, request: StreamRequest, total: float) -> Response:
        first_byte = self.timeouts.first_byte
        try:
            async with asyncio.timeout(min(first_byte, total)):
                return await request.__aenter__()
        except PyreqwestError as error:
            raise _translated(error) from error
        except TimeoutError as error:
            if total <= first_byte:
                raise UpstreamTimeout("the engine's total time ran out") from error
            raise UpstreamTimeout(f"the engine did not begin to answer within {first_byte:g} s") from error

    def _lane(self) -> Lane:
        """A place for one more exchange."""
        if self._closed:
            raise UpstreamUnreachable("the connections to the engine are closed", retry_after_s=1)
        if self._in_flight >= self._max_connections:
            raise ConnectionsInUse(
                f"all {self._max_connections} connections to the engine are in use", retry_after_s=1
            )
        lane = next((lane for lane in self._lanes if lane.in_flight < EXCHANGES_A_LANE), None)
        if lane is None:
            lane = Lane(self._build())
            self._lanes.append(lane)
        return lane

    def _leave(self, lane: Lane) -> None:
        self._in_flight -= 1
        lane.in_flight -= 1

    def _request(
        self, lane: Lane, target: Target, headers: Headers, body: bytes, total: float
    ) -> StreamRequest:
        url, fixed = cast("tuple[Url, HeaderMap]", target.prepared)
        builder = lane.client.request(target.method, url).headers(fixed)
        if headers:
            builder = builder.headers(_pairs(headers))
        # With any other limit it collects the whole stream before it hands out the first byte.
        builder = builder.body_bytes(body).streamed_read_buffer_limit(0)
        return builder.timeout(timedelta(seconds=total + GRACE_S)).build_streamed()

    def _build(self) -> RustClient:
        window = min(self._max_connections * BUFFER_BYTES, MAX_WINDOW)  # no slow reader holds up the others
        builder = (
            ClientBuilder()
            .user_agent("tidegate")
            .http1_lower_case_headers()
            .http2(True)
            .http2_initial_stream_window_size(BUFFER_BYTES)
            .http2_initial_connection_window_size(window)
            .connect_timeout(timedelta(seconds=self.timeouts.connect))
            .pool_idle_timeout(timedelta(seconds=IDLE_S))
            .pool_max_idle_per_host(self._max_connections)
            .error_for_status(False)
            .follow_redirects(False)
            .referer(False)
            .default_cookie_store(False)
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .no_proxy()  # none from the environment
        )
        if self._proxy is not None:
            builder = builder.proxy(ProxyBuilder.all(self._proxy))
        if self._ca_pem is not None:
            builder = builder.add_root_certificate_pem(self._ca_pem)
        return builder.build()


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _headers(response: Response) -> Headers:
    """The headers of an answer, without those whose values are not ASCII: the Rust client cannot give them."""
    try:
        return [(name.encode(), value.encode()) for name, value in response.headers.items()]
    except ValueError:
        found: Headers = []
        for name in dict.fromkeys(response.headers):
            try:
                found += [(name.encode(), value.encode()) for value in response.get_header_all(name)]
            except ValueError:
                continue
        return found


def _translated(error: PyreqwestError) -> UpstreamError:
    causes = (isinstance(error, RequestError) and error.details["causes"]) or []
    late = isinstance(error, RequestTimeoutError)
    if any(cause["message"] == CONNECTING for cause in causes):
        return UpstreamUnreachable(
            f"no connection to the engine{' in time' if late else ''}", retry_after_s=1
        )
    if late:
        return UpstreamTimeout("the engine's total time ran out")
    if isinstance(error, DecodeError):
        return UpstreamError("the engine's answer is not valid HTTP")
    return UpstreamError("the engine closed the connection before its answer was whole")
