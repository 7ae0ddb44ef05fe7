"""One HTTP/1.1 connection to an engine: an asyncio protocol around httptools, for one exchange at a time.

A connection is reused only if its last answer was read to the end. Otherwise the connection is closed, which also tells the
engine that the answer is no longer wanted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import httptools

from tidegate.aio import Alarm
from tidegate.egress.exchange import Headers, Timeouts
from tidegate.errors import UpstreamError, UpstreamTimeout

# Bytes of an answer that are buffered for a slow reader. Above this limit, reading from the engine pauses. A stalled stream
# uses about five times as much memory: this buffer, the last read with its events, and copies of both that are being sent.
BUFFER_BYTES = 2 * 1024
# The most bytes of one read. The event loop's own buffer holds a quarter of a megabyte, and a thousand answers that begin
# at once would cause a thousand reads of that size. Once reading has been paused during an answer, the reads of that
# answer get smaller: for a slow reader, large reads use memory and save no time.
READ_BYTES = 16 * 1024
READ_WHEN_SLOW_BYTES = 4 * 1024
# If a kept-alive connection closes within this time after a request was sent, the engine had already begun to close it. If
# the connection closes later, the engine may have begun to work on the request.
STALE_S = 0.01
# How long to wait for the end of an answer whose content is complete, such as a stream after `[DONE]`.
DRAIN_S = 0.5
MAX_HEADER_BYTES = 64 * 1024
# The most bytes of a request in parts that are written per turn of the loop. TLS encrypts this much in a quarter of a
# millisecond.
SLICE_BYTES = 256 * 1024
FIRST_FINAL_STATUS = 200


class Disconnected(UpstreamError):
    """The connection closed before the answer was complete. `unseen` means that the engine cannot have begun to answer."""

    def __init__(self, *, unseen: bool) -> None:
        super().__init__("the engine closed the connection before its answer was whole")
        self.unseen = unseen


class StrayAnswer(Exception):
    """The engine sent more than one answer to one request."""


class Connection(asyncio.BufferedProtocol):
    """One TCP connection and the answer that is arriving on it."""

    def __init__(
        self, timeouts: Timeouts, buffer: bytearray | None = None, *, keeps_chunked: bool = True
    ) -> None:
        """Create a connection that is not connected yet.

        Reads go into `buffer`. Connections of one loop may share a buffer, since each read is copied out of it at once.
        `keeps_chunked` says whether the connection can be used again after a chunked answer.
        """
        self._keeps_chunked = keeps_chunked
        self._timeouts = timeouts
        self._buffer = memoryview(bytearray(READ_BYTES) if buffer is None else buffer)
        self._small = self._buffer[:READ_WHEN_SLOW_BYTES]
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._alarm = Alarm(self._loop, self._on_time)
        self._draining: asyncio.TimerHandle | None = None
        self._last = 0.0  # when the last wait for the engine began
        self._total_at = 0.0
        self.idle_since = 0.0
        self.retires_at = math.inf  # from this time on, the pool does not reuse the connection
        self.reusable = False
        self.closed = False
        self._full = False
        self._reset()
        # No request was sent yet, so no answer may arrive.
        self._complete = True

    def _reset(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._header_bytes = 0
        self._complete = False
        self._began = False
        self._until_close = False
        self._paused = False
        self._slow = False
        self._error: UpstreamError | None = None
        self._drained: Callable[[Connection], None] | None = None
        self._unsent: Iterator[bytes | memoryview] | None = None

    # -- the exchange ---------------------------------------------------------------------------------------------

    async def start(
        self, request: bytes, ends_at: float, rest: Sequence[bytes | memoryview] | None = None
    ) -> None:
        """Send a request and wait for the headers of its answer.

        `ends_at` is the latest end of the exchange, on the loop's clock. `rest` is the part of the request that follows
        `request`. It is sent in slices as fast as the engine reads, even after the answer has begun.
        """
        if self.closed or self._transport is None:
            raise Disconnected(unseen=True)
        self._reset()
        self.reusable = False
        self._total_at = ends_at
        now = self._loop.time()
        self._alarm.ring_by(min(now + self._timeouts.first_byte, now + self._timeouts.idle, ends_at))
        self._transport.write(request)
        if rest is not None:
            self._unsent = _slices(rest)
            self._write_on()
        while not self.status:
            await self._arrival()

    async def read(self) -> bytes:
        """See `Exchange.read`."""
        while not self._chunks:
            if self._complete:
                return b""
            await self._arrival()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused and not self.closed and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def finish(self) -> bool:
        """End the exchange, and return whether the connection can carry another one."""
        self._total_at = 0.0
        if self._draining is not None:
            self._draining.cancel()
            self._draining = None
        if (  # the answer has ended, no task waits for it, and the whole request was written
            self._complete
            and self.reusable
            and not (self._paused or self.closed or self._unsent or self._awaited())
            and self._transport is not None
            and not self._transport.get_write_buffer_size()
        ):
            self.idle_since = self._loop.time()
            self._chunks.clear()
            return True
        self.abort()
        return False

    def drain(self, then: Callable[[Connection], None]) -> bool:
        """Wait a short time for the end of the answer, then call `then`. Returns False if there is no end to wait for."""
        if self.closed or self._complete or self._chunks or self._awaited():
            return False
        self._drained = then
        self._total_at = 0.0
        self._draining = self._loop.call_later(DRAIN_S, self.abort)
        return True

    def abort(self) -> None:
        """Close the connection at once."""
        self.closed = True
        self._unsent = None
        self._until_close = False  # a close by this side does not mark the end of a body
        if self._transport is not None:
            self._transport.abort()

    def _arrival(self) -> asyncio.Future[None]:
        """Return a future that is done when data has arrived. Raises the error that ended the exchange."""
        if self._error is not None:
            raise self._error
        self._last = self._loop.time()
        self._waiter = self._loop.create_future()
        return self._waiter

    def _awaited(self) -> bool:
        """Return whether a task waits for the engine. A cancelled task no longer waits."""
        return self._waiter is not None and not self._waiter.done()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, error: UpstreamError) -> None:
        if self._error is None:
            self._error = error
        self.abort()
        self._wake()

    # -- timeouts: one alarm serves all exchanges, so a new exchange needs no new timer ----------------------------------

    def _on_time(self) -> None:
        if not self._total_at:  # no exchange
            return None
        now = self._loop.time()
        if now >= self._total_at:
            return self._fail(UpstreamTimeout("the engine's total time ran out"))
        if not self._awaited():
            # The reader is busy and does not wait for the engine, so this time does not count as the engine's silence.
            self._last = now
        limit = self._timeouts.idle if self.status else self._timeouts.first_byte
        if now >= self._last + limit:
            what = "sent nothing for" if self.status else "did not begin to answer within"
            return self._fail(UpstreamTimeout(f"the engine {what} {limit:g} s"))
        # The alarm is never set further ahead than the idle timeout, so it need not be moved when the headers arrive.
        return self._alarm.ring_by(min(self._last + limit, now + self._timeouts.idle, self._total_at))

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport. The event loop calls this method once."""
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        """Stop writing, because the write buffer is full."""
        self._full = True

    def resume_writing(self) -> None:
        """Continue to write, because the write buffer has room again."""
        self._full = False
        if self._unsent is not None:
            self._write_on()

    def _write_on(self) -> None:
        """Send the next slice of the request, and schedule the following slice for the next turn of the loop."""
        if self._unsent is None or self._full or self._transport is None:
            return
        part = next(self._unsent, None)
        if part is None:
            self._unsent = None
        else:
            self._transport.write(part)
            self._loop.call_soon(self._write_on)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the protocol demands the argument
        """Return the buffer for the next read of the event loop."""
        return self._small if self._slow else self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Process the `nbytes` bytes that were read into the buffer."""
        self.data_received(bytes(self._buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Process bytes from the engine."""
        if self._complete:
            # No request waits for these bytes, and the next request must not receive them as its answer.
            return self.abort()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(UpstreamError("the engine's answer is not valid HTTP"))
        if self._buffered > BUFFER_BYTES and not self._paused and self._transport is not None:
            self._paused = self._slow = True
            self._transport.pause_reading()
        if self.status and self._waiter is not None:
            self._wake()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange, because one side has closed the connection."""
        self.closed = True
        self._unsent = None
        self._alarm.stop()
        if self._until_close and exc is None and self._error is None:
            self._complete = True
        elif not self._complete and self._error is None:
            unseen = not self._began and self._loop.time() - self._last < STALE_S
            self._error = Disconnected(unseen=unseen)
        self._wake()
        self._after_drain()

    # -- httptools callbacks ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Note that an answer begins. Close the connection if the engine begins a second answer."""
        if self._complete:
            self.abort()
            raise StrayAnswer
        self._began = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header. Trailers arrive here too and are discarded."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            error = UpstreamError("the engine's headers are too large")
            self._fail(error)
            raise error
        if not self.status:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Keep the status, unless it is provisional (1xx), and note how the body ends."""
        status = self._parser.get_status_code()
        if status < FIRST_FINAL_STATUS:
            self.headers.clear()
            return
        self.status = status
        names = {name for name, _ in self.headers}
        self._until_close = b"content-length" not in names and b"transfer-encoding" not in names

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body, without its chunk framing."""
        if self._drained is not None:
            return self.abort()
        self._chunks.append(data)
        self._buffered += len(data)
        return None

    def on_message_complete(self) -> None:
        """Note that the answer is complete."""
        if self.status:
            self._complete = True
            self.reusable = self._parser.should_keep_alive() and (
                self._keeps_chunked or not self._is_chunked()
            )
            self._after_drain()

    def _is_chunked(self) -> bool:
        return any(name == b"transfer-encoding" for name, _ in self.headers)

    def _after_drain(self) -> None:
        if self._drained is not None:
            then, self._drained = self._drained, None
            self._loop.call_soon(then, self)


def _slices(parts: Sequence[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    for part in parts:
        for at in range(0, len(part), SLICE_BYTES):
            yield part[at : at + SLICE_BYTES]
