"""The processes of a drill: three scripted engines, and `tidegate serve` in front of them. All listen on loopback alone."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from tidegate.ops.drill.figures import EngineState
from tidegate.ops.drill.plan import ENGINES, ITL_S, KINDS, MODEL, SEATS, SLOW, TENANTS, TTFT_S

PATIENCE_S = 30.0
"""The longest time for a process to start, or to end, on a busy machine."""
WATCHER = "watcher"
"""The name of the key for the metrics. No tenant has this name."""
_SERVING = re.compile(r" serving .* on (https?://\S+)/v1$")
_LAST_LINES = 20


class NotStarted(Exception):
    """A process of the drill did not start. The message has its last words."""


class Engine:
    """A scripted engine. It keeps its address when it is started again."""

    def __init__(self, name: str) -> None:
        """Create an engine that is not started yet."""
        self.name = name
        self.url = ""
        self.state: EngineState = "starting"
        self._process: Process | None = None
        self._before = 0  # requests to the processes that were killed
        self._requests = 0
        self._turn = asyncio.Lock()

    @property
    def requests(self) -> int:
        """The number of requests that the engine has received, as it last told."""
        return self._before + self._requests

    async def start(self) -> None:
        """Start the process. Raises NotStarted."""
        self.state = "starting"
        port = self.url.rpartition(":")[2] or "0"
        options = (port, f"{TTFT_S * 1000:g}", f"{ITL_S * 1000:g}")
        module = "tidegate.ops.drill.engine"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *options, stdin=PIPE, stdout=PIPE, start_new_session=True
        )
        self._process = process
        line = await _line(process)
        if not line:
            raise NotStarted(f"the engine '{self.name}' did not start: its message is above")
        self.url = line
        self.state = "up"

    async def kill(self) -> None:
        """Kill the process at once, as `kill -9` does."""
        self.state = "killed"
        self._before, self._requests = self.requests, 0
        await self.end()

    async def slow(self) -> None:
        """Answer more slowly from now on."""
        await self._say(f"ttft={TTFT_S * SLOW * 1000:g} itl={ITL_S * SLOW / 2 * 1000:g}")
        self.state = "slow"

    async def restore(self) -> None:
        """Answer as fast as at the start."""
        await self._say(f"ttft={TTFT_S * 1000:g} itl={ITL_S * 1000:g}")
        self.state = "up"

    async def count(self) -> None:
        """Ask the process for its number of requests. The last number stays if the process is gone."""
        if self.state in {"up", "slow"}:
            await self._say("")

    async def end(self) -> None:
        """End the process if it runs."""
        process, self._process = self._process, None
        if process is not None:
            await _end(process, at_once=True)

    async def _say(self, options: str) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        async with self._turn:
            process.stdin.write(f"{options}\n".encode())
            told = await _line(process)
        if told and process is self._process:
            self._requests = int(told)


class Cast(msgspec.Struct, frozen=True):
    """The running processes. `url` is the gateway's; `keys` has the secret of each tenant's key, and of the watcher's."""

    engines: Mapping[str, Engine]
    url: str
    keys: Mapping[str, str]


@contextlib.asynccontextmanager
async def running() -> AsyncGenerator[Cast]:
    """Run the engines and the gateway. Raises NotStarted."""
    engines = {name: Engine(name) for name in ENGINES}
    keys = {name: secrets.token_urlsafe(24) for name in (*(tenant.name for tenant in TENANTS), WATCHER)}
    try:
        await asyncio.gather(*(engine.start() for engine in engines.values()))
        tree = configuration({name: engine.url for name, engine in engines.items()}, keys)
        async with _gateway(tree) as url:
            yield Cast(engines, url, keys)
    finally:
        await asyncio.gather(*(engine.end() for engine in engines.values()))


def configuration(urls: Mapping[str, str], keys: Mapping[str, str]) -> dict[str, Any]:
    """Return the gateway's configuration: one model on all engines, and a key and a policy for each tenant."""
    kinds = {tenant.name: tenant.kind for tenant in TENANTS}
    return {
        "server": {"port": 0, "drain_grace_s": 0, "drain_deadline_s": 0},
        "engines": {
            name: {
                "kind": "openai",
                "url": f"{url}/v1",
                "max_in_flight": SEATS,
                "timeouts": {"connect_ms": 1000},
            }
            for name, url in urls.items()
        },
        "models": {MODEL: {"deployments": [{"engine": name} for name in urls]}},
        "queue": {"classes": {kind.name: {"longest_wait_s": kind.limit_s} for kind in KINDS}},
        "policies": {kind.name: {"defaults": {"priority": kind.name}} for kind in KINDS},
        "organisations": {name: {"policy": kind} for name, kind in kinds.items()},
        "keys": {
            name: {"secret": secret, "organisation": name}
            if name in kinds
            else {"secret": secret, "scopes": ["metrics"]}
            for name, secret in keys.items()
        },
    }


@contextlib.asynccontextmanager
async def _gateway(tree: Mapping[str, Any]) -> AsyncGenerator[str]:
    with TemporaryDirectory(
        prefix="tidegate-drill-"
    ) as folder:  # only its owner may read it: it has the keys
        path = Path(folder) / "tidegate.yaml"
        path.write_bytes(msgspec.json.encode(tree))  # JSON is YAML too
        command = (sys.executable, "-m", "tidegate.ops.drill.gateway", str(path))
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=DEVNULL, stderr=PIPE, start_new_session=True
        )
        try:
            url = await _address(process)
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(_drain(process))
                try:
                    yield url
                finally:
                    reading.cancel()
        finally:
            await _end(process)


async def _address(process: Process) -> str:
    """Return the address that the gateway logs once it serves."""
    assert process.stderr is not None
    last: deque[str] = deque(maxlen=_LAST_LINES)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while line := await process.stderr.readline():
                last.append(line.decode(errors="replace").rstrip())
                if found := _SERVING.search(last[-1]):
                    return found[1]
    raise NotStarted("\n".join(["the gateway did not start:", *last]))


async def _drain(process: Process) -> None:
    """Read the rest of the log, so that the pipe never fills."""
    assert process.stderr is not None
    while await process.stderr.read(65_536):
        pass


async def _line(process: Process) -> str:
    """Return the next line of the process, or an empty text if it has ended or says nothing in time."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            return (await process.stdout.readline()).decode().strip()
    except TimeoutError:
        return ""


async def _end(process: Process, *, at_once: bool = False) -> None:
    if process.returncode is not None:
        return
    if not at_once:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await process.wait()
                return
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
