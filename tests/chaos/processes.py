"""A gateway and an engine as processes of their own, on the loopback interface, for crowds of clients.

async with processes(configuration(64, kinds()), queue="tidegate") as world:
    exchange = world.send(body("tokens=3"), key)
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chaos.exchange import Exchange, request

PATIENCE_S = 30.0
_ENGINE_OPTIONS = {"tokens": "tokens", "itl_ms": "itl", "ttft_ms": "ttft"}


class _Connection(asyncio.Protocol):
    """A connection for one request."""

    def __init__(self, sent: bytes) -> None:
        self.exchange: Exchange
        self.transport: asyncio.Transport | None = None
        self._sent = sent

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._sent)

    def data_received(self, data: bytes) -> None:
        self.exchange.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.exchange.closed()


class Processes:
    """The running processes, and the way to the gateway."""

    def __init__(self, gateway: asyncio.subprocess.Process, url: str, engine_url: str) -> None:
        self._gateway = gateway
        self._address = urlsplit(url)
        self._engine_url = engine_url
        self._connecting: set[asyncio.Task[Any]] = set()
        self.clock = time.monotonic

    def send(self, content: bytes, key: str, *headers: str) -> Exchange:
        connection = _Connection(request(content, key, *headers))
        connecting = asyncio.create_task(self._connect(connection))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)

        def close() -> None:
            if connection.transport is not None:
                connection.transport.close()
            else:
                connecting.cancel()
                connection.exchange.closed()

        connection.exchange = Exchange(self.clock, close)
        return connection.exchange

    async def _connect(self, connection: _Connection) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: connection, self._address.hostname, self._address.port)
        except OSError:
            connection.exchange.closed()

    def memory_mib(self) -> float:
        status = Path(f"/proc/{self._gateway.pid}/status").read_text("ascii")
        found = re.search(r"VmHWM:\s*(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    async def engine_most(self) -> int:
        most: int = (await self.engine_record())["max_in_flight"]
        return most

    async def engine_record(self) -> dict[str, Any]:
        """What the engine has received and sent: see `tidegate.engines.scripted.record`."""
        return await asyncio.to_thread(_read_json, f"{self._engine_url}/record")


def _read_json(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


@asynccontextmanager
async def processes(sections: Mapping[str, Any], *, queue: str) -> AsyncIterator[Processes]:
    """Run a scripted engine and a gateway with one of the queues."""
    own = dict(sections["engines"]["script"])
    options = [
        part
        for name, short in _ENGINE_OPTIONS.items()
        if name in own
        for part in ("--set", f"{short}={own.pop(name)}")
    ]
    async with _process(["tidegate", "scripted", "--port", "0", *options]) as (_, engine_url):
        engine = {"kind": "openai", "url": f"{engine_url}/v1", "max_connections": 4096, **own}
        server = {**sections["server"], "port": 0}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tidegate.yaml"
            path.write_text(json.dumps({**sections, "server": server, "engines": {"script": engine}}))
            async with _process(["chaos.serving_process", str(path), queue]) as (gateway, url):
                yield Processes(gateway, url, engine_url)


@asynccontextmanager
async def _process(command: list[str]) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run a Python module that prints its address, and end it afterwards."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, stdout=asyncio.subprocess.PIPE, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode()
        found = re.search(r"https?://[^/\s]+", line)
        assert found, f"{command[0]} did not start: {line!r}"
        yield process, found[0]
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), PATIENCE_S)
            except TimeoutError:
                process.kill()
                await process.wait()
