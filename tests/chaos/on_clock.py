"""A whole gateway on the clock of `virtual`, with a scripted engine in its process, for crowds of clients.

async with gateway_on_clock(configuration(64, kinds())) as world:   # within `virtual.run`
    exchange = world.send(body("tokens=3"), key)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from in_hand import WALL_S
from wire import Wire

from chaos.exchange import Exchange, request
from chaos.fifo import queue_named
from tidegate.config import parse_text
from tidegate.engines.scripted.engine import ScriptedEngine
from tidegate.gateway import Gateway
from tidegate.http.app import create_app
from tidegate.http.edge.server import EdgeServer
from tidegate.ports import Engine
from tidegate.runtime import Runtime
from tidegate.types import Ask


class Pipe(Wire):
    """A transport whose client reads at once and keeps nothing."""

    protocol: Any = None
    exchange: Exchange

    def write(self, data: Any) -> None:
        if self.closed_at is None:
            self.exchange.feed(bytes(data))

    def close(self) -> None:
        if self.closed_at is None:
            super().close()
            asyncio.get_running_loop().call_soon(self._lost)

    abort = close

    def _lost(self) -> None:
        self.protocol.connection_lost(None)
        self.exchange.closed()


class WatchedEngine(ScriptedEngine):
    """A scripted engine that counts its calls: `running` now, the `most` at once, and how many were `cut`.

    `began` is called with the number of calls at the start of each one, itself included.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.running = self.most = self.asked = self.cut = 0
        self.began: Callable[[int], None] = lambda running: None

    async def stream(self, ask: Ask) -> Any:
        self.running, self.asked = self.running + 1, self.asked + 1
        self.most = max(self.most, self.running)
        self.began(self.running)
        whole = False
        batches = super().stream(ask)
        try:
            async for batch in batches:
                yield batch
            whole = True
        finally:
            await batches.aclose()
            self.running -= 1
            self.cut += not whole


class OnClock:
    """The gateway, the way to it, and its engine."""

    def __init__(self, gateway: Gateway, server: EdgeServer, engine: Any) -> None:
        self.gateway = gateway
        self.engine = engine
        self._server = server
        self.clock = asyncio.get_running_loop().time

    def send(self, content: bytes, key: str, *headers: str) -> Exchange:
        config, wire = self._server.config, Pipe()
        make: Any = config.http_protocol_class
        wire.protocol = make(config=config, server_state=self._server.server_state, app_state={})
        wire.exchange = exchange = Exchange(self.clock, wire.close)
        wire.protocol.connection_made(wire)
        wire.protocol.data_received(request(content, key, *headers))
        return exchange

    def memory_mib(self) -> None:
        return None

    async def engine_most(self) -> int:
        most: int = self.engine.most
        return most

    async def quiet(self) -> None:
        """Wait until no call runs."""
        ends_at = self.clock() + 600
        while self.gateway.snapshot.calls or self.engine.running:
            assert self.clock() < ends_at, "calls are left over"
            await asyncio.sleep(0.01)


@asynccontextmanager
async def gateway_on_clock(
    sections: Mapping[str, Any],
    *,
    queue: str = "tidegate",
    path: Path | None = None,
    make: Callable[[Any], Engine] = WatchedEngine,
) -> AsyncIterator[OnClock]:
    """Run a gateway with one engine, `script`. `path` is the file for its configuration, if it is to be reloaded."""
    text = json.dumps(with_engine(sections, {"kind": "scripted"}))
    if path is not None:
        path.write_text(text)
    config = parse_text(text, source="the test")
    clock = asyncio.get_running_loop().time
    engines: list[Engine] = []

    def made(name: str, settings: Any) -> Engine:
        engines.append(make(settings))
        return engines[-1]

    runtime = Runtime(clock=clock, wall=lambda: WALL_S + clock(), make=made)
    if (other := queue_named(queue, clock)) is not None:
        runtime.queue = other
    async with Gateway(config, path=path, runtime=runtime) as gateway:
        yield OnClock(gateway, EdgeServer(create_app(gateway), config.server), engines[0])


def with_engine(sections: Mapping[str, Any], engine: Mapping[str, Any]) -> dict[str, Any]:
    """The sections with the address of the engine put into its section."""
    own = {**engine, **sections["engines"]["script"]}
    return {**sections, "engines": {"script": own}}
