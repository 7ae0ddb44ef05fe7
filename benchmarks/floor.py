"""The floor: the least that a Python gateway can do. The benchmarks give their results as multiples of it.

It reads the body to see if a stream is asked for, forwards it on a kept-alive connection, and decodes and re-encodes
every event on the way back. It has no keys, limits, rails or metrics, and only as much error handling as a valid
measurement needs. So the cost of a gateway above the floor is the cost of its features.

    python -m uvicorn --app-dir benchmarks --host 127.0.0.1 --port 18732 --loop uvloop --http httptools \
        --no-access-log --log-level warning floor:app
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httptools
import msgspec

Message = dict[str, Any]

decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode

ENGINE = ("127.0.0.1", int(os.environ.get("FLOOR_ENGINE_PORT", "18730")))
REQUEST_HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:18730\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


class Reply:
    """One answer of the engine, filled by the parser's callbacks and emptied by `take`."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.done = False
        self.error: Exception | None = None
        self._received: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._received.append(data)

    def on_message_complete(self) -> None:
        self.done = True

    def wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    async def headers(self) -> None:
        while not self.status:
            await self._wait()

    async def take(self) -> bytes:
        """Wait for data, and return all data since the last call, or b"" once the answer is complete."""
        while not self._received and not self.done:
            await self._wait()
        received, self._received = self._received, []
        return b"".join(received)

    async def _wait(self) -> None:
        if self.error:
            raise self.error
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter


class Connection(asyncio.Protocol):
    """A kept-alive connection to the engine; `idle` is the pool that it returns to."""

    def __init__(self, idle: list["Connection"]) -> None:
        self._idle = idle
        self._reply: Reply | None = None
        self._transport: asyncio.WriteTransport

    def ask(self, body: bytes) -> Reply:
        self._reply = Reply()
        self._transport.write(REQUEST_HEAD % len(body) + body)
        return self._reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            "asyncio.WriteTransport", transport
        )  # uvloop's class does not inherit from asyncio's

    def data_received(self, data: bytes) -> None:
        assert self._reply
        self._reply.parser.feed_data(data)
        self._reply.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        if self._reply and not self._reply.done:
            self._reply.error = exc or ConnectionError("the engine closed the connection")
            self._reply.wake()


def recode(received: bytes) -> tuple[bytes, bytes]:
    """Decode and re-encode every complete event, and return the rest that is not complete yet."""
    *events, rest = received.split(b"\n\n")
    whole = (b"data: " + encode(decode(e[6:])) if e.startswith(b"data: {") else e for e in events)
    return b"".join(event + b"\n\n" for event in whole), rest


class Floor:
    """The ASGI application."""

    def __init__(self) -> None:
        self._idle: list[Connection] = []

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        connection = await self._connection()
        reply = connection.ask(body)
        await reply.headers()
        if decode(body).get("stream") is True:
            await self._relay_stream(reply, send)
        else:
            await self._relay_json(reply, send)
        self._idle.append(connection)

    async def _connection(self) -> Connection:
        if self._idle:
            return self._idle.pop()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self._idle), *ENGINE)
        return connection

    async def _relay_json(self, reply: Reply, send: Callable[[Message], Awaitable[None]]) -> None:
        answer = b""
        while received := await reply.take():
            answer += received
        decode(answer)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _relay_stream(self, reply: Reply, send: Callable[[Message], Awaitable[None]]) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        rest = b""
        while received := await reply.take():
            whole, rest = recode(rest + received)
            if whole:
                await send({"type": "http.response.body", "body": whole, "more_body": True})
        await send({"type": "http.response.body", "body": rest})


app = Floor()
