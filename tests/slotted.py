"""An engine with fewer slots than it admits calls, a gateway before it, and clients that keep the gateway's queue full."""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chaos.exchange import Exchange, body
from chaos.on_clock import OnClock, WatchedEngine, gateway_on_clock

from tidegate.dispatch.seats import Seats
from tidegate.errors import UpstreamBusy
from tidegate.types import Ask, Load

KEY = "ann-sends-this-key"
MOST = 32
BASE_MS, TOKEN_MS = 50, 0.25
"""The time to the first token of a prompt in a slot: a constant, and the time for each token."""
ANSWER_S, SIGMA = 5.0, 0.6
"""The length of answers: lognormal, by its mean."""


class Slotted(WatchedEngine):
    """A scripted engine whose calls wait in its own line, without bounds, while all its `slots` are taken.

    With `refuses` it has no line and refuses calls instead. With `reports` it tells its load.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.slots = MOST
        self.refuses = self.reports = False
        self.taken = 0
        self.line = deque[asyncio.Future[None]]()

    async def stream(self, ask: Ask) -> Any:
        async with self.slot():
            batches = super().stream(ask)
            try:
                async for batch in batches:
                    yield batch
            finally:
                await batches.aclose()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        if self.refuses and self.taken >= self.slots:
            raise UpstreamBusy("the engine has no capacity left", retry_after_s=1)
        turn = asyncio.get_running_loop().create_future()
        self.line.append(turn)
        self.give()
        try:
            await turn
            yield
        finally:
            if turn in self.line:
                self.line.remove(turn)
            else:
                self.taken -= 1
            self.give()

    def set_slots(self, slots: int) -> None:
        self.slots = slots
        self.give()

    def give(self) -> None:
        while self.line and self.taken < self.slots:
            turn = self.line.popleft()
            self.taken += 1
            if not turn.done():
                turn.set_result(None)

    async def load(self) -> Load:
        return Load(running=self.taken, waiting=len(self.line)) if self.reports else await super().load()


class Busy:
    """A gateway whose engine is `Slotted`, and what became of its limit and its clients' calls."""

    def __init__(self, world: OnClock) -> None:
        self.world = world
        self.gateway = world.gateway
        self.engine: Slotted = world.engine
        self.tokens = 20
        self.streams = 1.0
        self.exchanges: list[Exchange] = []
        self.limits: list[tuple[float, int]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._chance = random.Random(1)

    @property
    def now(self) -> float:
        return self.world.clock()

    @property
    def seats(self) -> Seats:
        return self.gateway.snapshot.engines["script"].seats

    def send(self, marker: str = "", *, stream: bool = True, headers: tuple[str, ...] = ()) -> Exchange:
        ttft_ms, answer_s = BASE_MS + TOKEN_MS * self.tokens, self._length_s()
        marker = marker or f"ttft={ttft_ms:g} itl={answer_s * 500:.0f} tokens=3"
        content = body(marker, words=self.tokens, stream=stream)
        return self.world.send(content, KEY, *headers)

    def _length_s(self) -> float:
        return ANSWER_S * self._chance.lognormvariate(-(SIGMA**2) / 2, SIGMA)

    async def client(self) -> None:
        """Send one call after the other. After an error, pause for a second."""
        while True:
            exchange = self.send(stream=self._chance.random() < self.streams)
            self.exchanges.append(exchange)
            await exchange.ended
            if not exchange.events:
                await asyncio.sleep(1)

    async def other_client(self) -> None:
        """Send one call after the other, past the gateway."""
        while True:
            async with self.engine.slot():
                await asyncio.sleep(self._length_s())

    async def stop(self) -> None:
        """Have all clients leave, and wait until no call runs."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for exchange in self.exchanges:
            exchange.leave()
        await self.world.quiet()

    async def watch(self) -> None:
        while True:
            limit = self.seats.limit
            assert limit is not None
            self.limits.append((self.now, limit))
            await asyncio.sleep(0.1)

    def settled_s(self, target: float, after: float) -> float:
        """Seconds from `after` until the limit is within 25 % of the target, infinity if it never is."""
        times = (when - after for when, limit in self.limits if when >= after and near(limit, target))
        return next(times, float("inf"))

    def share_near(self, target: float, since: float) -> float:
        """The share of the time since then in which the limit was within 25 % of the target."""
        limits = [limit for when, limit in self.limits if when >= since]
        return sum(near(limit, target) for limit in limits) / len(limits)

    def errors(self, since: float) -> float:
        """The share of the calls sent since then that were not answered."""
        sent = [one for one in self.exchanges if one.sent_at >= since and one.ended_at is not None]
        return sum(not one.events for one in sent) / len(sent)

    def metrics(self) -> list[str]:
        """The lines about the engine's limit, without their common prefix."""
        lines = self.gateway.runtime.metrics.render().decode().splitlines()
        prefix = "tidegate_engine_limit"
        return [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]


def near(limit: float, target: float) -> bool:
    return abs(limit - target) <= 0.25 * target


def sections(**engine: Any) -> dict[str, Any]:
    return {
        "server": {"max_connections": 20_000},
        "engines": {"script": {"max_in_flight": MOST, **engine}},
        "models": {"*": {"deployments": [{"engine": "script"}, {"engine": "script", "model": "second"}]}},
        "keys": {"ann": {"secret": KEY}},
        "queue": {"classes": {"default": {"longest_wait_s": 600}}},
    }


@asynccontextmanager
async def busy(
    clients: int = 2 * MOST,
    *,
    others: int = 0,
    path: Path | None = None,
    streams: float = 1.0,
    prepare: Callable[[Slotted], None] = lambda engine: None,
    make: Callable[[Any], Slotted] = Slotted,
    **engine: Any,
) -> AsyncIterator[Busy]:
    """Run a gateway whose clients, and others of its engine, send calls until the block ends."""
    async with gateway_on_clock(sections(**engine), path=path, make=make) as world:
        scene = Busy(world)
        scene.streams = streams
        prepare(scene.engine)
        work = [scene.watch(), *(scene.client() for _ in range(clients))]
        work += [scene.other_client() for _ in range(others)]
        scene.tasks = [asyncio.create_task(one) for one in work]
        try:
            yield scene
        finally:
            await scene.stop()


async def reload(scene: Busy, path: Path, **engine: Any) -> None:
    new = sections(**engine)
    new["engines"]["script"]["kind"] = "scripted"
    path.write_text(json.dumps(new))
    await scene.gateway.reload()
