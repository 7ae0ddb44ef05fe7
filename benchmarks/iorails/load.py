"""Closed-loop load: each of C clients sends its next request as soon as its answer is complete.

    PYTHONPATH=benchmarks python -m iorails.load --clients 32 --seconds 10 --warm-up-s 2 --floor-s 0.5 URL
    PYTHONPATH=benchmarks python -m iorails.load --clients 32 --seconds 10 --warm-up-s 2 --floor-s 0.5 GUARD APP GUARD

With several URLs, a request is the chain of all of them, one call after the other: what a client without a gateway would
do, and the least that a gateway can take. The starts of the clients are spread evenly over the floor, which is the sum of
the engines' latencies. What ends during the warm-up is not counted. Every answer is checked. It prints one line of JSON,
see `LoadReport`. `cpu_s` is the CPU time of the process tree `--pid` between the warm-up and the end.
"""

import argparse
import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import msgspec
import uvloop
from rig import cpu_seconds

from iorails.mock_llms import APP_MODEL

PROMPT = "When does the ferry to the islands leave, and can I take my bicycle with me?"
EXPECTED = (b"ferry to the islands", b"User Safety")
"""A good answer has one of these: that of the application's model, or, in a chain, that of the guard model."""
GRACE_S = 60  # for requests that are still in flight at the end


class LoadReport(msgspec.Struct, frozen=True):
    """What one load has seen. Times are those over the floor, in milliseconds.

    `n` requests were answered well between the warm-up and the end. `sent` counts all requests, with those of the warm-up
    and after the end, and `bad` what was wrong with any of them.
    """

    n: int
    sent: int
    rps: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    cpu_s: float
    bad: dict[str, int]
    first_bad: str


class Client(asyncio.Protocol):
    """One kept-alive connection."""

    def __init__(self) -> None:
        self._received, self._length = b"", -1
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @property
    def open(self) -> bool:
        return not self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_result(b"HTTP/1.1 closed")

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """The whole answer, head and body."""
        self._received, self._length = b"", -1
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._length < 0:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._received[:end].lower()
            at = head.find(b"content-length:")
            if at < 0:
                raise ValueError("the answer has no content-length")
            self._length = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._received) >= self._length and not self._answer.done():
            self._answer.set_result(self._received)


def request_for(url: str, options: argparse.Namespace) -> bytes:
    parts = urlsplit(url)
    body = json.dumps({"model": options.model, "messages": [{"role": "user", "content": options.prompt}]})
    head = [
        f"POST {parts.path} HTTP/1.1",
        f"host: {parts.netloc}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *options.header,
    ]
    return "\r\n".join([*head, "", body]).encode()


@dataclass
class Load:
    """The clients of one run, and what they have seen."""

    options: argparse.Namespace
    begun: float = field(default_factory=perf_counter)
    over_s: list[float] = field(default_factory=list[float])
    sent: int = 0
    bad: Counter[str] = field(default_factory=Counter[str])
    first_bad: str = ""

    @property
    def counted_from(self) -> float:
        return self.begun + self.options.warm_up_s

    @property
    def end(self) -> float:
        return self.counted_from + self.options.seconds

    async def client(self, number: int) -> None:
        await asyncio.sleep(self.options.floor_s * number / self.options.clients)
        steps = [(urlsplit(url), request_for(url, self.options)) for url in self.options.url]
        connections: list[Client | None] = [None] * len(steps)
        loop = asyncio.get_running_loop()
        while (sent_at := perf_counter()) < self.end:
            self.sent += 1
            for at, (parts, request) in enumerate(steps):
                connection = connections[at]
                if connection is None or not connection.open:
                    _, connection = await loop.create_connection(Client, parts.hostname, parts.port)
                    connections[at] = connection
                self._check(await connection.ask(request))
            done_at = perf_counter()
            if self.counted_from <= done_at <= self.end:
                self.over_s.append(done_at - sent_at - self.options.floor_s)
        for connection in connections:
            if connection:
                connection.close()

    def _check(self, answer: bytes) -> None:
        status = answer[9:12].decode(errors="replace")
        if status != "200" or not any(text in answer for text in EXPECTED):
            self.bad[status if status != "200" else "other text"] += 1
            self.first_bad = self.first_bad or answer[:500].decode(errors="replace")

    async def run(self) -> LoadReport:
        """Raises ExceptionGroup if an answer cannot be read, and TimeoutError if answers do not come."""
        async with asyncio.timeout(self.options.warm_up_s + self.options.seconds + GRACE_S):
            async with asyncio.TaskGroup() as tasks:
                cpu_s = tasks.create_task(self._cpu_s())
                for number in range(self.options.clients):
                    tasks.create_task(self.client(number))
        return self._report(cpu_s.result())

    async def _cpu_s(self) -> float:
        if not self.options.pid:
            return 0.0
        await asyncio.sleep(self.counted_from - perf_counter())
        before = cpu_seconds(self.options.pid)
        await asyncio.sleep(max(0.0, self.end - perf_counter()))
        return cpu_seconds(self.options.pid) - before

    def _report(self, cpu_s: float) -> LoadReport:
        found, n = sorted(self.over_s), len(self.over_s)

        def quantile(share: float) -> float:
            """In milliseconds; -1 if there is no answer."""
            return round(1000 * found[min(n - 1, int(share * n))], 3) if found else -1.0

        return LoadReport(
            n=n,
            sent=self.sent,
            rps=round(n / self.options.seconds, 2),
            p50_ms=quantile(0.5),
            p90_ms=quantile(0.9),
            p99_ms=quantile(0.99),
            max_ms=quantile(1),
            cpu_s=round(cpu_s, 4),
            bad=dict(self.bad),
            first_bad=self.first_bad,
        )


def parse_arguments() -> argparse.Namespace:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument(
        "url", nargs="+", help="chat completions, http://HOST:PORT/PATH; several are called in turn"
    )
    parser.add_argument("--clients", type=int, default=1, metavar="C", help="(1)")
    parser.add_argument("--seconds", type=float, default=10, metavar="S", help="what is counted (10)")
    parser.add_argument("--warm-up-s", type=float, default=2, metavar="S", help="before that (2)")
    parser.add_argument("--floor-s", type=float, default=0, metavar="S", help="the engines' latencies (0)")
    parser.add_argument("--pid", type=int, default=0, help="process tree whose CPU time is measured")
    parser.add_argument("--model", default=APP_MODEL, help=f"({APP_MODEL})")
    parser.add_argument("--prompt", default=PROMPT, help="the user's message")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="repeatable")
    return parser.parse_args()


if __name__ == "__main__":
    print(msgspec.json.encode(uvloop.run(Load(parse_arguments()).run())).decode())
