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
WALL_S = 1_780_000_000.0
"""The seconds since the epoch at the start of the clock."""


class SlowWire(Wire):
    """A transport whose client reads at once while `takes` is True. Otherwise the transport buffers what is written.

    As in a real event loop, a closed transport delivers its buffer, and an aborted one loses it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.takes = True
        self.held_bytes = 0
        self.protocol: Any = None
        self._closing = False

    @property
    def taken(self) -> bytes:
        """What the client has read."""
        written = b"".join(self.written)
        return written[: len(written) - self.held_bytes]

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
        if self.closed_at is not None:
            return
        self.held_bytes = max(0, self.held_bytes - size)
        if not self.held_bytes:
            self.protocol.resume_writing()
            if self._closing:
                self._gone()

    def is_closing(self) -> bool:
        return self._closing or super().is_closing()

    def close(self) -> None:
        self._closing = True
        if not self.held_bytes:
            self._gone()

    def abort(self) -> None:
        self._gone()

    def _gone(self) -> None:
        if self.closed_at is None:
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)
        super().close()


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

    def begin(self, size: int, *headers: str, path: str = f"/v1/{CHAT}", version: str = "1.1") -> None:
        """Send the head of a POST with a body of `size` bytes."""
        lines = (f"POST {path} HTTP/{version}", "host: localhost", "content-type: application/json", *headers)
        self.send("\r\n".join([*lines, f"content-length: {size}", "", ""]).encode())

    def post(self, body: bytes, *headers: str, version: str = "1.1") -> None:
        self.begin(len(body), *headers, version=version)
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
    server: Mapping[str, Any] | None = None, sections: Mapping[str, Any] | None = None, **engine: Any
) -> AsyncIterator[GatewayInHand]:
    """Run a gateway. `server` has settings of the gateway, `engine` of its only engine, a scripted one in process.

    `sections` are further sections of the configuration.
    """
    tree = {
        "server": server or {},
        "engines": {"script": {"kind": "scripted", **engine}},
        "models": {"*": {"deployments": [{"engine": "script"}]}},
        **(sections or {}),
    }
    config = parse_text(json.dumps(tree), source="the test")
    clock = asyncio.get_running_loop().time
    async with Gateway(config, runtime=Runtime(clock=clock, wall=lambda: WALL_S + clock())) as gateway:
        yield GatewayInHand(gateway, EdgeServer(create_app(gateway), config.server))


async def until(reached: Callable[[], bool], what: str) -> float:
    """Wait until `reached()` is true, and return the time on the loop's clock, exact to some milliseconds."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + PATIENCE_S
    while not reached():
        assert loop.time() < ends_at, f"never happened: {what}"
        await asyncio.sleep(0.005)
    return loop.time()
