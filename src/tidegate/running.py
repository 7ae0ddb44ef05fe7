"""Open stores, with their background tasks, and the metrics of open engines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import NoReturn, Protocol

from prometheus_client.core import Metric

from tidegate.access.stored import StoredKeys
from tidegate.dispatch.seats import Seats
from tidegate.errors import GatewayError
from tidegate.ports import Clock, Spawn, Store
from tidegate.telemetry.metrics import gauge
from tidegate.types import Load, PeriodCount

PROBE_EVERY_S = 2.0
PROBE_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


class RunningStore:
    """An open store with its name, its readiness, its keys and its counts. The last two are None if it keeps none.

    `found` has the counts that the store had when it was opened.
    """

    def __init__(self, name: str, store: Store, clock: Clock) -> None:
        self.name = name
        self.store = store
        kept = store.keys()
        self.keys = None if kept is None else StoredKeys(kept, clock)
        self.counts = store.counts()
        self.found: Sequence[PeriodCount] = ()
        self.ready = True
        self._tasks: list[asyncio.Task[NoReturn]] = []

    async def read_counts(self, *, after: float) -> None:
        """Set `found` to the counts whose periods end after a time. Raises Overloaded if the store does not answer."""
        if self.counts is not None:
            self.found = await self.counts.read(after=after)

    def start(self, spawn: Spawn) -> None:
        """Start the background tasks: probes, and what the keys need."""
        self._tasks.append(spawn(self._keep_probing(), name=f"probe the store {self.name}"))
        if self.keys is not None:
            self._tasks.append(spawn(self.keys.follow(), name=f"follow the store {self.name}"))
            self._tasks.append(spawn(self.keys.write_used(), name=f"write to the store {self.name}"))

    async def probe(self) -> None:
        """Ask the store whether it can be read and written, and set `ready`. Takes at most 5 s."""
        ready = False
        with suppress(TimeoutError, GatewayError):
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                ready = await self.store.ready()
        if ready != self.ready:
            say = log.info if ready else log.warning
            say("the store %s is %s", self.name, "ready" if ready else "not ready")
        self.ready = ready

    async def close(self) -> None:
        """End the background tasks, write what waits, and close the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.keys is not None:
            await self.keys.flush()
        await self.store.close()

    async def _keep_probing(self) -> NoReturn:
        while True:
            await asyncio.sleep(PROBE_EVERY_S)
            await self.probe()


class OpenEngine(Protocol):
    """What the metrics need to know of an open engine."""

    @property
    def ready(self) -> bool:
        """Whether the engine can serve calls."""
        ...

    name: str
    seats: Seats
    load: Load | None


def engine_gauges(engines: Collection[OpenEngine]) -> Iterable[Metric]:
    """Yield the metrics of open engines."""
    for name, meaning, rows in (
        ("engine_ready", "1 if the engine is ready.", [(one.name, one.ready) for one in engines]),
        ("engine_in_flight", "Calls at the engine.", [(one.name, one.seats.in_flight) for one in engines]),
        ("engine_waiting", "Calls waiting for a seat.", [(one.name, one.seats.waiting) for one in engines]),
    ):
        yield gauge(name, meaning, ["engine"], (([engine], number) for engine, number in rows))
    told = [(one.name, one.load) for one in engines if one.load is not None]
    yield gauge(
        "engine_running",
        "Calls the engine reports at work, from all its clients; without a report, the gateway's own count.",
        ["engine"],
        (([name], load.running) for name, load in told),
    )
    yield gauge(
        "engine_queued",
        "Calls waiting in the engine's own queue.",
        ["engine"],
        (([name], load.waiting) for name, load in told if load.waiting is not None),
    )
    yield gauge(
        "engine_kv_usage",
        "Share of the engine's key-value cache in use, 0 to 1.",
        ["engine"],
        (([name], load.kv_usage) for name, load in told if load.kv_usage is not None),
    )
