"""An open store: its readiness, its keys, the counts that it keeps, and the background tasks of these."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from tidegate.access.stored import StoredKeys
from tidegate.errors import GatewayError
from tidegate.ports import Clock, Spawn, Store
from tidegate.types import PeriodCount

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
