"""Clients that write down what they sent and got. Each has the next request ready when the last one has ended."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from typing import Any

import httptools
import msgspec

from chaos.faults.history import Op
from chaos.faults.world import MODEL, GatewayWorld, World
from tidegate.kernel.sse import SseReader

PATIENCE_S = 30.0
"""A request that has not ended by then hangs. It is far longer than all timeouts of the gateways together."""


class Timing(msgspec.Struct, frozen=True):
    """How an engine is to answer: milliseconds to the first token and between tokens, and the fewest and most tokens."""

    ttft_ms: float = 10.0
    itl_ms: float = 5.0
    tokens: tuple[int, int] = (4, 24)
    streamed: float = 0.85
    """The part of the requests that are streamed."""


class _Reading:
    """Reads one HTTP answer into an Op. httptools calls the `on_` methods."""

    def __init__(self, op: Op) -> None:
        self.op = op
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)
        self._events = SseReader()
        self._body = b""
        self._streams = False

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._streams = value.startswith(b"text/event-stream")

    def on_headers_complete(self) -> None:
        self.op.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if not self._streams:
            self._body += body
            return
        for event in self._events.feed(body):
            if event.data is not None:
                self._take(event.data)

    def on_message_complete(self) -> None:
        self.complete = True
        if not self._streams:
            self._read_whole()

    def _take(self, data: bytes) -> None:
        op = self.op
        if op.end:
            op.after_end = True
        elif data == b"[DONE]":
            op.end = "done"
        else:
            self._read(msgspec.json.decode(data), "delta")

    def _read_whole(self) -> None:
        found = msgspec.json.decode(self._body)
        self._read(found, "message")
        if not self.op.end and self.op.status == 200:
            self.op.end = "done"

    def _read(self, found: dict[str, Any], field: str) -> None:
        op = self.op
        if "error" in found:
            op.end, op.code = "error", str(found["error"]["code"])
            return
        maker = str(found.get("system_fingerprint"))
        for choice in found.get("choices") or ():
            if text := choice[field].get("content"):
                op.first_at = op.first_at or time.monotonic()
                op.text += text
                if maker not in op.engines:
                    op.engines = [*op.engines, maker]


def text_of(number: int, tokens: int) -> str:
    """The only right answer to a request: words that each name the request and their place, with characters to cut in."""
    return " ".join(f"{number}·{place}é" for place in range(tokens))


def _request(op: Op, timing: Timing) -> bytes:
    script = f"ttft={timing.ttft_ms:g} itl={timing.itl_ms:g} tokens={op.tokens}"
    marker = f"op-{op.number} [[scripted {script} text={json.dumps(op.expected, ensure_ascii=False)}]]"
    fields = {
        "model": MODEL,
        "stream": op.streamed,
        "messages": [{"role": "user", "content": marker}],
    }
    body = json.dumps(fields, ensure_ascii=False).encode()
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        "host: localhost",
        "connection: close",
        "content-type: application/json",
        f"content-length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body


async def send(op: Op, gateway: GatewayWorld, timing: Timing) -> None:
    """Send a request on a connection of its own, and write down what became of it."""
    op.gateway, op.sent_at = gateway.name, time.monotonic()
    reading = _Reading(op)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await _talk(reading, gateway.port, _request(op, timing))
    except TimeoutError:
        op.end = "hung"
    except ConnectionRefusedError:
        op.end = "unreached"
    except ConnectionError:
        op.end = "cut"
    if not op.end or not (reading.complete or op.end in {"hung", "unreached"}):
        op.end = "cut"
    op.ended_at = time.monotonic()


async def _talk(reading: _Reading, port: int, request: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        while data := await reader.read(65536):
            reading.feed(data)
    finally:
        writer.transport.abort()


async def crowd(
    world: World, goes_on: Callable[[int], bool], *, clients: int, seed: str, timing: Timing | None = None
) -> None:
    """Let so many clients send one request after the other, while `goes_on` says so of the next number."""
    timing = timing or Timing()

    async def client() -> None:
        while goes_on(number := len(world.ops)):
            chance = random.Random(f"{seed}/{number}")
            tokens = chance.randint(*timing.tokens)
            streamed = chance.random() < timing.streamed
            op = Op(
                number=number, gateway="", expected=text_of(number, tokens), tokens=tokens, streamed=streamed
            )
            world.ops.append(op)
            await send(op, chance.choice(world.gateways), timing)
            if op.end == "unreached":
                await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
