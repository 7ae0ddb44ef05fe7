"""Several gateways in front of several engines, all of them processes, with a fault proxy before each engine.

async with world(folder) as found:
    await found.engines[0].die()      # kill -9; its port refuses
    await found.engines[0].come_back()
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.faults.children import Child, free_port
from chaos.faults.engine_process import read_journal
from chaos.faults.history import Act, History, Late, Op
from chaos.faults.proxy import FaultProxy
from chaos.figures import percentile
from tidegate.config import ModelConfig

MODEL, RESERVE = "m", "m-reserve"
SEATS = 8
NAP_S = 0.02
TIMEOUTS = {"connect_ms": 1_000, "first_byte_ms": 1_500, "idle_ms": 1_500}
"""Short, since each fault that is silent lasts so long. They bound a silence, so a busy machine breaks no sound answer
of engines that send a token every few milliseconds.
"""


@dataclass
class EngineWorld:
    """An engine with its proxy."""

    child: Child
    proxy: FaultProxy
    journal: Path

    @property
    def name(self) -> str:
        return self.child.name

    async def die(self) -> None:
        await self.proxy.refuse()
        await self.child.kill()

    async def come_back(self) -> None:
        await self.child.start()
        await self.proxy.listen()


@dataclass
class GatewayWorld:
    child: Child
    port: int

    @property
    def name(self) -> str:
        return self.child.name


@dataclass
class World:
    """Everything that runs, and what was recorded of it."""

    gateways: list[GatewayWorld]
    engines: list[EngineWorld]
    seats: int
    ops: list[Op] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)

    async def watch_the_clock(self) -> None:
        """Note how late this process is, which runs the clients and the proxies."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(NAP_S)
            self.late_s.append(time.monotonic() - began - NAP_S)

    def history(self) -> History:
        """What was recorded. Read it after the end of all calls."""
        asked = [call for engine in self.engines for call in read_journal(engine.journal)]
        passed = [call for engine in self.engines for call in engine.proxy.passed]
        late = Late(p99_ms=1000 * percentile(self.late_s, 0.99))
        return History(list(self.ops), asked, passed, list(self.acts), [late])


@asynccontextmanager
async def world(
    folder: Path, *, gateways: int = 2, engines: int = 3, seats: int = SEATS
) -> AsyncIterator[World]:
    """Run it. The last engine is the reserve of the others. The logs and journals are in `folder`."""
    async with AsyncExitStack() as stack:
        behind = [await _engine(chr(ord("a") + n), folder, stack) for n in range(engines)]
        before = [_gateway(f"gateway-{n}", folder, behind, seats, stack) for n in range(gateways)]
        await asyncio.gather(*(gateway.child.start() for gateway in before))
        found = World(before, behind, seats)
        watching = asyncio.create_task(found.watch_the_clock())
        stack.callback(watching.cancel)
        yield found


async def _engine(name: str, folder: Path, stack: AsyncExitStack) -> EngineWorld:
    port, journal = free_port(), folder / f"{name}.journal"
    command = ["chaos.faults.engine_process", name, str(port), str(journal)]
    child = Child(name, command, folder / f"{name}.log", started="scripted engine on")
    stack.push_async_callback(child.kill)
    await child.start()
    proxy = await stack.enter_async_context(FaultProxy(name, port))
    return EngineWorld(child, proxy, journal)


def _gateway(
    name: str, folder: Path, engines: Sequence[EngineWorld], seats: int, stack: AsyncExitStack
) -> GatewayWorld:
    path, port = folder / f"{name}.yaml", free_port()
    path.write_text(json.dumps(configuration(name, engines, seats)), "utf-8")
    command = ["chaos.faults.jumping", "serve", "--config", str(path), "--port", str(port)]
    child = Child(name, command, folder / f"{name}.log", started=" serving ")
    stack.push_async_callback(child.kill)
    return GatewayWorld(child, port)


def configuration(name: str, engines: Sequence[EngineWorld], seats: int) -> dict[str, Any]:
    """The configuration of one gateway. Each of its engine calls names it, so that the proxies can tell gateways apart."""
    *main, reserve = ({"engine": one.name} for one in engines)
    model: dict[str, Any] = {"deployments": main}
    if "fallbacks" in ModelConfig.model_fields:
        model["fallbacks"] = [RESERVE]
    else:
        model["deployments"] = [*main, reserve]
    return {
        "server": {"access_log": "none"},
        "engines": {
            one.name: {
                "kind": "openai",
                "url": one.proxy.url,
                "max_in_flight": seats,
                "headers": {"x-chaos-gateway": name},
                "timeouts": TIMEOUTS,
            }
            for one in engines
        },
        "models": {MODEL: model, RESERVE: {"deployments": [reserve]}},
    }
