"""A whole gateway on the clock of `virtual`, with connections whose bytes the test controls, and a scripted engine.

async with gateway_in_hand({"sse_keep_alive_s": 2}) as gateway:   # within `virtual.run`
    client = gateway.connect()
    client.post(stream("itl=1000"))
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from talking import CHAT
from wire import Wire

from tidegate.config import parse_text
from tidegate.gateway import Gateway
from tidegate.http.app import create_app
from tidegate.http.edge.server import EdgeServer
from tidegate.runtime import Runtime

PATIENCE_S = 3600.0


class SlowWire(Wire):
    """A transport whose client reads everything, or nothing while `takes` is False; then the transport buffers it."""

    def __init__(self) -> None:
        super().__init__()
        self.takes = True
        self.held_bytes = 0
        self.protocol: Any = None

    def write(self, data: Any) -> None:
        super().write(data)
        if not self.takes:
            before, self.held_bytes = self.held_bytes, self.held_bytes + len(data)
            if not before:
                self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.held_bytes

    def take(self, size: int) -> None:
        """Let the client read `size` bytes of the buffer."""
        self.held_bytes = max(0, self.held_bytes - size)
        if not self.held_bytes:
            self.protocol.resume_writing()

    def close(self) -> None:
        if self.closed_at is None:
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)
        super().close()

    abort = close


@dataclass
class InHand:
    """One connection of a client."""

    wire: SlowWire

    @property
    def received(self) -> bytes:
        """All bytes that the gateway has written."""
        return b"".join(self.wire.written)

    @property
    def status(self) -> int:
        """The status of the first answer."""
        return int(self.received.split(b" ", 2)[1])

    @property
    def is_answered(self) -> bool:
        """Whether the end of a chunked body was written."""
        return self.received.endswith(b"0\r\n\r\n")

    def send(self, data: bytes) -> None:
        self.wire.protocol.data_received(data)

    def begin(self, size: int, path: str = f"/v1/{CHAT}") -> None:
        """Send the head of a POST with a body of `size` bytes."""
        lines = (f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json")
        self.send("\r\n".join([*lines, f"content-length: {size}", "", ""]).encode())

    def post(self, body: bytes) -> None:
        self.begin(len(body))
        self.send(body)


@dataclass
class GatewayInHand:
    gateway: Gateway
    _server: EdgeServer

    def connect(self) -> InHand:
        config, wire = self._server.config, SlowWire()
        make: Any = config.http_protocol_class
        wire.protocol = make(config=config, server_state=self._server.server_state, app_state={})
        wire.protocol.connection_made(wire)
        return InHand(wire)


@asynccontextmanager
async def gateway_in_hand(
    server: Mapping[str, Any] | None = None, **engine: Any
) -> AsyncIterator[GatewayInHand]:
    """Run a gateway. `server` has settings of the gateway, `engine` of its only engine, a scripted one in process."""
    tree = {
        "server": server or {},
        "engines": {"script": {"kind": "scripted", **engine}},
        "models": {"*": {"deployments": [{"engine": "script"}]}},
    }
    config = parse_text(json.dumps(tree), source="the test")
    clock = asyncio.get_running_loop().time
    async with Gateway(config, runtime=Runtime(clock=clock)) as gateway:
        yield GatewayInHand(gateway, EdgeServer(create_app(gateway), config.server))


async def until(reached: Callable[[], bool], what: str) -> float:
    """Wait until `reached()` is true, and return the time on the loop's clock, exact to some milliseconds."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + PATIENCE_S
    while not reached():
        assert loop.time() < ends_at, f"never happened: {what}"
        await asyncio.sleep(0.005)
    return loop.time()
