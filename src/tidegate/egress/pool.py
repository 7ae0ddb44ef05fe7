"""The HTTP client: HTTP/1.1 over TCP or TLS, directly or through a proxy, with a pool of kept-alive connections.

The client is written for speed: it uses a third of the CPU of the fastest library that was measured. HTTP/2 is left out on
purpose: engines and providers speak HTTP/1.1, and one slow reader on a shared connection would hold up the others.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

from tidegate.aio import EARLY_S, Alarm
from tidegate.egress.connection import READ_BYTES, Connection, Disconnected
from tidegate.egress.exchange import Body, Exchange, Headers, Target, Timeouts
from tidegate.egress.places import Places
from tidegate.egress.tls import SYSTEM_ONLY, TlsFiles
from tidegate.egress.way import Way
from tidegate.errors import Again, UpstreamError, UpstreamUnreachable

# Idle seconds after which a connection without TLS is closed. uvicorn and llama.cpp close idle connections after 5 s, and a
# request sent at that moment would fail.
NEAR_IDLE_S = 4.0
# Idle seconds after which a connection with TLS is closed. Providers keep idle connections for a minute or more, and a new
# connection costs two round trips, often across continents.
FAR_IDLE_S = 30.0
# An expired idle connection may be closed this much late, so that one check closes all the connections of a burst.
OLD_WITHIN_S = 0.5


class Reuse(NamedTuple):
    """Which connections carry another exchange.

    A connection older than `max_age_s` does not. One that has carried a chunked answer does so only if `after_chunked`.
    """

    max_age_s: float = math.inf
    after_chunked: bool = True


REUSED = Reuse()


class PooledExchange:
    """An answer and the connection that it uses until it is closed."""

    def __init__(self, pool: HttpClient, connection: Connection) -> None:
        self._pool = pool
        self._connection: Connection | None = connection
        self.status = connection.status
        self.headers = connection.headers
        # The connection's own method: a wrapper would cost one more Python frame per read.
        self.read = connection.read

    async def close(self, *, expect_end: bool = False) -> None:
        """See `Exchange.close`. Only the first call has an effect: later, another exchange may use the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self.read = _read_closed
            self._pool.give_back(connection, expect_end=expect_end)


class HttpClient:
    """A pool of connections to one engine. Satisfies `Client`."""

    def __init__(
        self,
        url: str,
        timeouts: Timeouts,
        *,
        max_connections: int,
        proxy: str | None = None,
        files: TlsFiles = SYSTEM_ONLY,
        reuse: Reuse = REUSED,
    ) -> None:
        """Create a client without connections.

        `proxy` is the URL of an HTTP proxy, with user and password if the proxy needs them. Raises OSError if `files`
        cannot be used.
        """
        self._way = way = Way(url, proxy=proxy, files=files)
        self._base = urlsplit(url).path.rstrip("/")
        self._idle_s = FAR_IDLE_S if way.is_tls else NEAR_IDLE_S
        self._timeouts = timeouts
        self._reuse = reuse
        self._places = Places(max_connections)
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._closed = False
        self._buffer = bytearray(READ_BYTES)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alarm: Alarm | None = None  # rings when the oldest idle connection expires
        self._alarm_is_set = False

    def target(self, method: str, path: str, headers: Headers, *, once: bool = False) -> Target:
        """See `Client.target`. Raises ValueError for a header with a line break."""
        assert method != "HEAD"  # the parser would wait for a body
        way = self._way
        fixed = [
            (b"host", way.authority.encode()),
            (b"accept-encoding", b"identity"),
            *way.headers,
            *headers,
        ]
        for name, value in fixed:
            if b"\n" in name + value or b"\r" in name + value:
                raise ValueError(f"the header {name!r} contains a line break")
        url = f"{way.before_path}{self._base}/{path}"
        head = f"{method} {url} HTTP/1.1\r\n".encode() + _lines(fixed)
        return Target(method, url, head, once)

    async def send(self, target: Target, headers: Headers, body: Body, total_s: float) -> Exchange:
        """See `Client.send`."""
        more = _lines(headers) if headers else b""
        if isinstance(body, bytes):
            request, rest = b"%bcontent-length: %d\r\n\r\n%b" % (target.head + more, len(body), body), None
        else:
            request = b"%bcontent-length: %d\r\n\r\n" % (target.head + more, sum(map(len, body)))
            rest = body
        loop = self._loop or self._first_use()
        now = loop.time()
        ends_at = now + min(total_s, self._timeouts.total)
        if not self._places.try_take():
            await self._places.take(ends_at)
            now = loop.time()
        connection, fresh, exchange = self._take(now), False, None
        try:
            while True:
                if connection is None:
                    connection, fresh = await self._connect(ends_at), True
                try:
                    await connection.start(request, ends_at, rest)
                except Disconnected as error:
                    if fresh or not error.unseen:
                        raise
                    # The engine closed the kept-alive connection while the request was on its way. It may be about to
                    # close the other ones as well, and a request that is sent again should not meet that twice.
                    self._drop_idle()
                    if target.once:
                        error.again = Again.SAME
                        raise
                    self._open.discard(connection)
                    connection = None
                else:
                    exchange = PooledExchange(self, connection)
                    return exchange
        finally:
            if exchange is None:
                self._put_back(connection)

    def _first_use(self) -> asyncio.AbstractEventLoop:
        # The loop is cached, because `get_running_loop` makes a system call in Python 3.11.
        loop = self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(loop, self._close_old)
        return loop

    async def close(self) -> None:
        """See `Client.close`."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.stop()
        for connection in list(self._open):
            connection.abort()
        self._open.clear()
        self._idle.clear()

    def give_back(self, connection: Connection, *, expect_end: bool = False) -> None:
        """End the exchange on a connection, and keep the connection if it can carry another exchange."""
        if not (expect_end and connection.drain(self._put_back)):
            self._put_back(connection)

    def _put_back(self, connection: Connection | None) -> None:
        """End an exchange: keep or close its connection, if it has one, and return its place."""
        if connection is not None:
            if connection.finish() and connection.idle_since < connection.retires_at:
                self._idle.append(connection)
                if not self._alarm_is_set and self._alarm is not None:
                    self._alarm_is_set = True
                    self._alarm.ring_by(connection.idle_since + self._idle_s)
            else:
                connection.abort()
                self._open.discard(connection)
        self._places.give_back()

    def _close_old(self) -> None:
        """Close the idle connections that have expired, as many do after a burst.

        `_take` uses the most recently used connection first, so the connection that expires next is first in the list.
        """
        assert self._loop is not None
        assert self._alarm is not None
        now = self._loop.time()
        old = [one for one in self._idle if one.closed or now + EARLY_S >= one.idle_since + self._idle_s]
        for connection in old:
            connection.abort()
        self._open.difference_update(old)
        self._idle = [one for one in self._idle if not one.closed]
        self._alarm_is_set = bool(self._idle)
        if self._idle:
            self._alarm.ring_by(max(self._idle[0].idle_since + self._idle_s, now + OLD_WITHIN_S))

    def _take(self, now: float) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and now - connection.idle_since < self._idle_s:
                return connection
            connection.abort()
            self._open.discard(connection)
        return None

    def _drop_idle(self) -> None:
        for connection in self._idle:
            connection.abort()
        self._open.difference_update(self._idle)
        self._idle.clear()

    async def _connect(self, ends_at: float) -> Connection:
        if self._closed:
            raise UpstreamUnreachable("the connections to the engine are closed", retry_after_s=1)
        loop = asyncio.get_running_loop()
        now = loop.time()
        connection = Connection(self._timeouts, self._buffer, keeps_chunked=self._reuse.after_chunked)
        connection.retires_at = now + self._reuse.max_age_s
        self._open.add(connection)
        stands = False
        try:
            async with asyncio.timeout_at(min(now + self._timeouts.connect, ends_at)):
                await self._way.connect(lambda: connection)
            stands = True
        except TimeoutError as error:
            raise UpstreamUnreachable("no connection to the engine in time", retry_after_s=1) from error
        except ssl.SSLError as error:
            raise UpstreamUnreachable("the TLS handshake with the engine failed", retry_after_s=1) from error
        except (OSError, UnicodeError) as error:  # UnicodeError: the host is not a valid name
            raise UpstreamUnreachable("no connection to the engine", retry_after_s=1) from error
        finally:
            if not stands:
                connection.abort()
                self._open.discard(connection)
        return connection


async def _read_closed() -> bytes:
    raise UpstreamError("the exchange is closed")


def _lines(headers: Headers) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)
