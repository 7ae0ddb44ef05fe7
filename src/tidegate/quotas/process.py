"""The quotas of one process: the parts that outlive a reload, so that a reload grants nothing extra."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from itertools import count
from typing import NoReturn

from prometheus_client.core import Metric

from tidegate.errors import Overloaded
from tidegate.ports import Clock, CountStore, Limiter, Wall
from tidegate.quotas.estimate import OutputEstimate
from tidegate.quotas.lines import Lines
from tidegate.quotas.local import LocalLimiter
from tidegate.quotas.tally import Tally
from tidegate.types import PeriodCount

WRITE_EVERY_S = 1.0
"""How often changed counts are written. A crash loses so much consumption of days and months."""
MOST_AT_ONCE = 1000
"""The counts of one transaction. Between two of them the store can do other work."""

log = logging.getLogger(__name__)


class Quotas:
    """The limiter, what was learned of answers, the calls that wait, and the counts of what happened."""

    def __init__(self, clock: Clock, wall: Wall) -> None:
        """Make quotas of which nothing is used yet."""
        local = LocalLimiter(clock, wall)
        self.limiter: Limiter = local
        self.kept = Kept(local)
        self.estimate = OutputEstimate()
        self.lines = Lines()
        self.tally = Tally()
        self.generations = count(1)
        """A number for each configuration, so that the limits of a newer one are known from those of an older one."""

    def metrics(self) -> Iterable[Metric]:
        """Return the metrics of this moment."""
        return self.tally.metrics(self.limiter, self.lines)


class Kept:
    """Keeps what is used of days and months in a store, so that a restart grants nothing again.

    The counts in memory are the ones that decide. They are written late, so no call waits for the store.
    """

    def __init__(self, limiter: LocalLimiter) -> None:
        """Keep nothing, until there is a store."""
        self._limiter = limiter
        self._store: CountStore | None = None
        self._writing = asyncio.Lock()
        self._failing = False

    def keep_in(self, store: CountStore | None, found: Iterable[PeriodCount] = ()) -> None:
        """Count on from what was found in a store, and write to it from now on. None ends that."""
        if store is self._store:
            return
        self._store = store
        if store is None:
            self._limiter.count_alone()
        else:
            self._limiter.count_on(found)

    async def write_on(self) -> NoReturn:
        """Write what has changed every second, for ever. Call `flush` at the end."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what has changed. If the store does not answer, that waits for the next time."""
        async with self._writing:
            ended = self._limiter.forget_ended()
            for _ in range(0, len(self._limiter.unwritten), MOST_AT_ONCE):
                if self._store is None or not await self._write(self._store, ended):
                    return

    async def close(self) -> None:
        """Write what has changed, before the process ends."""
        await self.flush()
        if self._store is not None and (lost := len(self._limiter.unwritten)):
            log.warning("what is used of %d limits per day or month was not written to the store", lost)

    async def _write(self, store: CountStore, ended: float) -> bool:
        taken = self._limiter.take_unwritten(MOST_AT_ONCE)
        counts = [one if isinstance(one, PeriodCount) else one.count for one in taken.values()]
        written = False
        try:
            await store.write(counts, ended=ended)
            written = True
        except Overloaded as error:
            if not self._failing:
                log.warning(
                    "what is used of days and months is not written to the store: %s",
                    error.cause or error.message,
                )
        finally:
            if not written:
                self._limiter.put_back(taken)
        if written and self._failing:
            log.info("what is used of days and months is written to the store again")
        self._failing = not written
        return written
