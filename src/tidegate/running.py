"""Open stores and engines, with their background tasks, their readiness and their metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import NoReturn, Protocol

from prometheus_client.core import Metric

from tidegate.access.stored import StoredKeys
from tidegate.dispatch.seats import Seats
from tidegate.dispatch.standing import Credentials
from tidegate.errors import GatewayError
from tidegate.ports import Clock, Engine, Spawn, Store
from tidegate.telemetry.causes import cause_of
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


class RunningEngine:
    """An open engine with its name, seats, readiness and load."""

    def __init__(self, name: str, engine: Engine, seats: Seats, clock: Clock) -> None:
        self.name = name
        self.engine = engine
        self.seats = seats
        self.load: Load | None = None
        self.credentials = Credentials(clock, self._settle)
        self._unreachable: str | None = "has not been asked yet"
        self._told = self._unreachable
        self.probing: asyncio.Task[NoReturn] | None = None

    @property
    def ready(self) -> bool:
        """Whether the engine was reachable at the last probe and accepts the gateway's credentials."""
        return self.why is None

    @property
    def why(self) -> str | None:
        """The reason why the engine is not ready, empty if unknown. None if the engine is ready."""
        return self.credentials.why if self._unreachable is None else self._unreachable

    async def probe(self) -> None:
        """Ask the engine whether it is ready and how busy it is, and set `ready` and `load`. Takes at most 5 s."""
        load, refused, own = None, False, 0
        unreachable: str | None = f"does not answer within {PROBE_TIMEOUT_S:g} s"
        with suppress(TimeoutError, GatewayError):
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                try:
                    unreachable = None if await self.engine.ready() else ""
                except GatewayError as error:
                    refused = error.upstream.status == 401
                    unreachable = None if refused else cause_of(error)
                own = self.seats.in_flight
                load = await self.engine.load() if unreachable is None else None
        self.load = load
        if load is not None:
            self.seats.reported(load, own)
        if unreachable is None:
            self.credentials.probed(refused=refused)
        self.found(unreachable)

    def found(self, unreachable: str | None) -> None:
        """Take in the result of a probe: the reason why the engine cannot be reached, or None if it was reached."""
        self._unreachable = unreachable
        self._settle()

    def _settle(self) -> None:
        """Update the seats, and log a changed readiness or reason."""
        why = self.why
        self.seats.ready = why is None
        if why == self._told:
            return
        if why is None:
            log.info("engine %s is ready", self.name)
        else:
            log.warning("engine %s is not ready%s", self.name, why and f": {why}")
        self._told = why

    async def close(self) -> None:
        """End the probes and close the engine."""
        if self.probing is not None:
            self.probing.cancel()
        await self.engine.close()


async def keep_probing(running: RunningEngine) -> NoReturn:
    """Probe one engine in an endless loop. Each engine has its own task, so a slow engine does not delay other probes."""
    while True:
        await probe_all([running])
        await asyncio.sleep(PROBE_EVERY_S)


async def probe_all(engines: Sequence[RunningEngine]) -> None:
    """Ask every engine whether it is ready. If the probe of an engine raises, the engine is not ready."""
    probes = (running.probe() for running in engines)
    for running, failure in zip(engines, await asyncio.gather(*probes, return_exceptions=True), strict=True):
        if isinstance(failure, Exception):
            running.load = None
            log.error("engine %s cannot say whether it is ready", running.name, exc_info=failure)
            running.found(f"cannot say whether it is ready: {type(failure).__name__}; the log says more")
