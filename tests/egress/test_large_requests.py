"""Requests in parts: they leave as the engine takes them, and an answer may come before they have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tidegate.config import OpenAIConfig
from tidegate.egress.exchange import Client
from tidegate.egress.open import open_client
from tidegate.errors import UpstreamError

pytestmark = pytest.mark.anyio

PARTS: list[bytes | memoryview] = [b"[", memoryview(b"1," * 3_000_000), b"", memoryview(b"2]")]
WHOLE = b"".join(PARTS)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def with_engine(serve: Serve, ask: Callable[[Client], Awaitable[None]]) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = open_client(
        OpenAIConfig(kind="openai", url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    )
    try:
        await ask(client)
    finally:
        await client.close()
        server.close()


async def head_of(reader: asyncio.StreamReader) -> int:
    """The length that a request's head promises."""
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.partition(b"content-length: ")[2].split()[0])


async def answer_to(client: Client) -> tuple[int, bytes]:
    exchange = await client.send(client.target("POST", "chat", []), [], PARTS, 20)
    body = b""
    while data := await exchange.read():
        body += data
    await exchange.close()
    return exchange.status, body


async def test_all_parts_arrive_in_order_and_the_connection_serves_the_next() -> None:
    heard: list[bytes] = []
    connections: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        for _ in range(2):
            heard.append(await reader.readexactly(await head_of(reader)))
            writer.write(OK)
        writer.close()

    async def ask(client: Client) -> None:
        assert [await answer_to(client), await answer_to(client)] == [(200, b"ok")] * 2

    await with_engine(serve, ask)
    assert heard == [WHOLE, WHOLE]
    assert len(connections) == 1


async def test_an_answer_may_come_before_the_end_of_the_request() -> None:
    answered, enough = asyncio.Event(), asyncio.Event()
    rest: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = await head_of(reader)
        writer.write(OK)
        answered.set()
        await enough.wait()
        rest.append(length - len(await reader.read(-1)))
        writer.close()

    async def ask(client: Client) -> None:
        assert await answer_to(client) == (200, b"ok")
        await answered.wait()
        enough.set()
        # The request was cut: nothing else may use that connection.
        while not rest:
            await asyncio.sleep(0.001)

    await with_engine(serve, ask)
    assert rest[0] > 0


async def test_an_engine_that_leaves_in_between_is_an_error() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.transport.abort()

    async def ask(client: Client) -> None:
        with pytest.raises(UpstreamError):
            await answer_to(client)

    await with_engine(serve, ask)
