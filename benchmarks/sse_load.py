"""Streaming load: each of N connections runs one SSE chat after the other, and the delay of every chunk is measured.

    python benchmarks/sse_load.py --port 8080 [--path /v1/chat/completions] [--model m-n100-g20]
        [--streams 100] [--seconds 5] [--header 'Name: value']...
        [--chunks N] [--ack-port PORT] [--prompt-chars N]

With --chunks it ends with the first stream that completes N chunks in all, however long that takes (--seconds is then
the most that it may take). With --ack-port every read that held chunks is acknowledged to the engine by a datagram:
the mock engine then sends, to models like m-n100-l1, one chunk after the other and never two together. With --prompt-chars
the prompt has that many ASCII characters, if they are more than it has anyway (about 90).

Every event of the mock engine carries the CLOCK_MONOTONIC time at which it was sent, and this runs on the same
machine: the one-way delay of a chunk, engine to client, is exact. Prints one line of JSON: chunks (all received),
chunks_s, streams (complete with [DONE]), bad (connections refused, other statuses than 200, streams that ended
without [DONE]), chunks_per_read (how many arrived together), and p50 and p99 in ms of ttft (request sent to first
chunk), itl (chunk to chunk) and one_way.
"""

import argparse
import asyncio
import contextlib
import gc
import random
import re
import socket
import time
from collections.abc import Callable
from typing import cast

import msgspec
import uvloop

STAMP = re.compile(rb"T([a-j]{6,20}) ")  # the time in nanoseconds, digits written as letters
DIGITS = bytes.maketrans(b"abcdefghij", b"0123456789")
FILLER = " It lives at the edge of a wood, and comes to the village when the days are short and the nights are cold."
KEEP_BYTES = 300  # behind the last stamp: enough for a stamp or a [DONE] cut in two


class StreamReport(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements of one run. All times are in milliseconds."""

    chunks: int
    chunks_s: float
    streams: int
    bad: int
    chunks_per_read: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    itl_p50_ms: float
    itl_p99_ms: float
    one_way_p50_ms: float
    one_way_p99_ms: float
    first_problem: str = ""


class Samples:
    """The samples of all connections so far. Times are in nanoseconds."""

    def __init__(self, *, chunks: int = 0) -> None:
        self.chunks = chunks  # how many are wanted; 0: no end but time
        self.enough = asyncio.Event()
        self.ttft: list[int] = []
        self.itl: list[int] = []
        self.one_way: list[int] = []
        self.reads = 0
        self.streams = 0
        self.bad = 0
        self.first_problem = ""
        self.stopping = False

    def problem(self, what: str) -> None:
        self.bad += 1
        self.first_problem = self.first_problem or what

    def report(self, seconds: float) -> StreamReport:
        return StreamReport(
            chunks=len(self.one_way),
            chunks_s=round(len(self.one_way) / seconds, 1),
            streams=self.streams,
            bad=self.bad,
            chunks_per_read=round(len(self.one_way) / max(1, self.reads), 3),
            ttft_p50_ms=quantile_ms(self.ttft, 0.5),
            ttft_p99_ms=quantile_ms(self.ttft, 0.99),
            itl_p50_ms=quantile_ms(self.itl, 0.5),
            itl_p99_ms=quantile_ms(self.itl, 0.99),
            one_way_p50_ms=quantile_ms(self.one_way, 0.5),
            one_way_p99_ms=quantile_ms(self.one_way, 0.99),
            first_problem=self.first_problem,
        )


def quantile_ms(samples: list[int], share: float) -> float:
    """The sample below which `share` of all lie, in ms; 0 when there is none."""
    if not samples:
        return 0.0
    return round(sorted(samples)[min(len(samples) - 1, int(len(samples) * share))] / 1e6, 4)


class StreamClient(asyncio.Protocol):
    """One connection: it sends a request, reads the stream to its end, and repeats."""

    def __init__(self, request: bytes, samples: Samples, acknowledge: Callable[[], None]) -> None:
        self._request = request
        self._samples = samples
        self._acknowledge = acknowledge
        self._transport: asyncio.WriteTransport
        self._buffer = b""
        self._asked_at = self._last_at = 0
        self._status_seen = self._done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            "asyncio.WriteTransport", transport
        )  # uvloop's class does not inherit from asyncio's
        self._ask()

    def _ask(self) -> None:
        self._buffer = b""
        self._status_seen = self._done = False
        self._last_at = 0
        self._asked_at = time.monotonic_ns()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self._samples.reads += 1
        if not self._status_seen:
            self._status_seen = True
            if not data.startswith(b"HTTP/1.1 200"):
                self._samples.problem(data[:400].decode(errors="replace"))
                self._transport.close()
                return
        buffer = self._buffer + data
        end = self._read_stamps(buffer, now)
        if end and b"[DONE]" not in buffer:
            self._acknowledge()
        self._done = self._done or b"[DONE]" in buffer
        self._buffer = buffer[end:][-KEEP_BYTES:]
        if self._done and buffer.endswith(b"0\r\n\r\n"):
            self._samples.streams += 1
            if self._samples.chunks and len(self._samples.one_way) >= self._samples.chunks:
                self._samples.stopping = True
                self._samples.enough.set()
            if self._samples.stopping:
                self._transport.close()
            else:
                self._ask()

    def _read_stamps(self, buffer: bytes, now: int) -> int:
        samples, end = self._samples, 0
        for stamp in STAMP.finditer(buffer):
            end = stamp.end()
            samples.one_way.append(now - int(stamp[1].translate(DIGITS)))
            if self._last_at:
                samples.itl.append(now - self._last_at)
            else:
                samples.ttft.append(now - self._asked_at)
            self._last_at = now
        return end

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._samples.stopping and self._status_seen:
            self._samples.problem(f"the connection ended: {exc or 'closed by the server'}")


def acknowledger(port: int) -> Callable[[], None]:
    """Return a function that tells the mock engine on `port` that a chunk has arrived; without a port it does nothing."""
    if not port:
        return lambda: None
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect(("127.0.0.1", port))
    return lambda: sender.send(b"next") and None


async def run_streams(
    request: bytes, port: int, *, streams: int, seconds: float, chunks: int = 0, ack_port: int = 0
) -> StreamReport:
    samples = Samples(chunks=chunks)
    acknowledge = acknowledger(ack_port)
    loop = asyncio.get_running_loop()

    async def start(delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        try:
            await loop.create_connection(
                lambda: StreamClient(request, samples, acknowledge), "127.0.0.1", port
            )
        except OSError as error:
            samples.problem(str(error))

    # Streams start at different times, so that their events do not come in the same millisecond.
    spread_s = 0.0 if chunks else min(2.0, seconds / 3)
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(streams):
            group.create_task(start(random.random() * spread_s))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(samples.enough.wait(), seconds)
    samples.stopping = True
    if chunks and not samples.enough.is_set():
        samples.problem(f"{len(samples.one_way)} of {chunks} chunks in {seconds:g} s")
    return samples.report(time.monotonic() - began if chunks else seconds)


def chat_request(port: int, path: str, *, model: str, headers: list[str], prompt_chars: int) -> bytes:
    prompt = f"Tell me about the quick brown fox, in a few sentences please, and keep it short. [[{model}]]"
    prompt += (FILLER * (prompt_chars // len(FILLER) + 1))[: max(0, prompt_chars - len(prompt))]
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": prompt},
    ]
    body = msgspec.json.encode(
        {"model": model, "stream": True, "messages": messages, "temperature": 0.7, "max_tokens": 128}
    )
    head = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json", *headers]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/v1/chat/completions")
    parser.add_argument("--model", default="m-n100-g20")
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    parser.add_argument("--chunks", type=int, default=0, metavar="N")
    parser.add_argument("--ack-port", type=int, default=0, metavar="PORT")
    parser.add_argument("--prompt-chars", type=int, default=0, metavar="N")
    options = parser.parse_args()
    request = chat_request(
        options.port,
        options.path,
        model=options.model,
        headers=options.header,
        prompt_chars=options.prompt_chars,
    )
    gc.disable()  # a collection here would be measured as delay of the gateway
    report = uvloop.run(
        run_streams(
            request,
            options.port,
            streams=options.streams,
            seconds=options.seconds,
            chunks=options.chunks,
            ack_port=options.ack_port,
        )
    )
    print(msgspec.json.encode(report).decode())


if __name__ == "__main__":
    main()
