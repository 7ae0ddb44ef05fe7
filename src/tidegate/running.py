"""An open store: its readiness, its keys, and the background tasks of both."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import NoReturn

from tidegate.access.stored import StoredKeys
from tidegate.errors import GatewayError
from tidegate.ports import Clock, Spawn, Store

PROBE_EVERY_S = 2.0
PROBE_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


class RunningStore:
    """An open store with its name, its readiness and its keys. `keys` is None if the store keeps none."""

    def __init__(self, name: str, store: Store, clock: Clock) -> None:
        self.name = name
        self.store = store
        kept = store.keys()
        self.keys = None if kept is None else StoredKeys(kept, clock)
        self.ready = True
        self._tasks: list[asyncio.Task[NoReturn]] = []

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
