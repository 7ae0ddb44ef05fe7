"""An event loop whose clock jumps to the next timer when it is idle. Minutes of load take no time and repeat exactly."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which each turn takes ten microseconds, so that time passes for a task that spins.

    The clock stands still while a thread of an executor works, so that no deadline passes because a disk is slow. The loop
    seeds the shared random numbers, which spread retries, so that what they decide repeats as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._jobs = 0
        random.seed(0)

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        job = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        job.add_done_callback(self._finished)
        return job

    def _finished(self, _: asyncio.Future[Any]) -> None:
        self._jobs -= 1

    def _run_once(self) -> None:
        self.now += 1e-5
        if not self._ready and not self._jobs:
            self._drop_cancelled()
            if self._scheduled:
                self.now = max(self.now, self._scheduled[0].when())
        super()._run_once()

    def _drop_cancelled(self) -> None:
        """Take cancelled timers from the front, as the loop itself does in its turn: the first one is then the next."""
        while self._scheduled and self._scheduled[0].cancelled():
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False
            self._timer_cancelled_count -= 1


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
