"""Drives the steps of a load test: sends each request when it is due, and measures its own lateness."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from tidegate.ops.load.client import Asker
from tidegate.ops.load.plan import Arrival, Closed, Open, Step
from tidegate.ops.load.prompts import Prompts, Talk
from tidegate.ops.load.sample import Sample
from tidegate.ports import Clock

# A user waits this long after a failed request. Without a wait, refusals would cause thousands of requests per second.
PAUSE_AFTER_ERROR_S = 0.1
_TICK_S = 0.05
# Timers of an event loop are exact to a millisecond. For the last part of a wait, the task yields repeatedly instead.
_GRAIN_S = 0.0015


class Record(msgspec.Struct):
    """The measurements of one step. Times are on the run's clock. `lags` are in seconds. `cpu_s` is the tester's CPU time.

    `ended` is the time when the last answer was complete. `held` is the number of requests that `max_in_flight` delayed.
    """

    step: Step
    began: float = 0.0
    ended: float = 0.0
    samples: list[Sample] = []
    lags: list[float] = []
    cpu_s: float = 0.0
    in_flight: int = 0
    held: int = 0


class Runner:
    """Runs steps, one after the other. `sleep` and `clock` have to use the same time."""

    def __init__(
        self,
        asker: Asker,
        prompts: Prompts,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._asker = asker
        self._prompts = prompts
        self._clock = clock
        self._sleep = sleep
        self.stopped = False

    def stop(self) -> None:
        """Send no more requests. Running requests may finish."""
        self.stopped = True

    async def run(self, record: Record) -> None:
        """Run the step of a record to its last answer. The record is filled meanwhile, so that progress can be shown."""
        step = record.step
        record.began, cpu = self._clock(), time.process_time()
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(record))
            try:
                if isinstance(step, Closed):
                    await self._closed(step, record)
                else:
                    await self._open(step, record)
            finally:
                watch.cancel()
        record.ended = max((sample.done for sample in record.samples), default=self._clock())
        record.cpu_s = time.process_time() - cpu

    # -- closed loop ---------------------------------------------------------------------------------------------------

    async def _closed(self, step: Closed, record: Record) -> None:
        tickets = iter(range(step.requests)) if step.requests is not None else None
        async with asyncio.TaskGroup() as users:
            for _ in range(step.users):
                users.create_task(self._user(record, record.began + step.duration_s, tickets))

    async def _user(self, record: Record, until: float, tickets: Iterator[int] | None) -> None:
        talk = self._prompts.talk()
        while not self.stopped and (due := self._clock()) < until:
            if tickets is not None and next(tickets, None) is None:
                return
            sample = await self._ask(record, talk, due)
            if not sample.ok:
                await self._sleep(PAUSE_AFTER_ERROR_S)

    # -- open loop -----------------------------------------------------------------------------------------------------

    async def _open(self, step: Open, record: Record) -> None:
        room = asyncio.Semaphore(step.max_in_flight)
        async with asyncio.TaskGroup() as requests:
            for arrival in step.arrivals:
                due = record.began + arrival.at_s
                await self._until(due)
                held = room.locked()
                record.held += held
                await room.acquire()
                if self.stopped:
                    room.release()
                    return
                if not held:
                    record.lags.append(max(0.0, self._clock() - due))
                requests.create_task(self._one(record, arrival, due, room))

    async def _one(self, record: Record, arrival: Arrival, due: float, room: asyncio.Semaphore) -> None:
        try:
            await self._ask(record, self._prompts.talk(), due, arrival)
        finally:
            room.release()

    async def _until(self, moment: float) -> None:
        while (left := moment - self._clock()) > 0 and not self.stopped:
            await self._sleep(min(left - _GRAIN_S, 1.0) if left > 2 * _GRAIN_S else 0)

    # -- both ----------------------------------------------------------------------------------------------------------

    async def _ask(self, record: Record, talk: Talk, due: float, arrival: Arrival | None = None) -> Sample:
        prompt = talk.ask(arrival)
        record.in_flight += 1
        try:
            sample, text = await self._asker.ask(prompt, due, keep=talk.listens)
        finally:
            record.in_flight -= 1
        record.samples.append(sample)
        talk.hear(text if sample.ok else None)
        return sample

    async def _watch(self, record: Record) -> None:
        """Measure how late the event loop wakes a sleeping task. A busy tester adds this delay to every figure."""
        while True:
            wanted = self._clock() + _TICK_S
            await self._sleep(_TICK_S)
            if isinstance(record.step, Closed):
                record.lags.append(max(0.0, self._clock() - wanted))
