"""First come, first served: the queues that the gateway's own is compared with. They satisfy what the stages use of it.

A client that leaves is out of the line at once, as in the gateway's own queue. Gateways that do not notice it serve worse.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from tidegate.errors import DeadlineExceeded, Overloaded


class Fifo:
    """One line for one engine with a number of seats. `longest` None means that the line has no bound."""

    def __init__(self, clock: Callable[[], float], seats: int, longest: int | None = None) -> None:
        self.clock = clock
        self.seats = seats
        self.longest = longest
        self.in_flight = 0
        self.line: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    def enter(self, *_: Any, **__: Any) -> Place:
        return Place(self)

    def take(self) -> bool:
        if self.line or self.in_flight >= self.seats:
            return False
        self.in_flight += 1
        return True

    async def wait(self, patience_s: float) -> None:
        if self.longest is not None and len(self.line) >= self.longest:
            raise Overloaded("the line is full", retry_after_s=5)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.line[turn] = None
        try:
            async with asyncio.timeout(patience_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.release()  # the seat came in the moment in which the client left
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded("the deadline passed in the line") from error
            raise
        finally:
            self.line.pop(turn, None)

    def release(self) -> None:
        self.in_flight -= 1
        while self.line and self.in_flight < self.seats:
            turn, _ = self.line.popitem(last=False)
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)


class Place:
    def __init__(self, queue: Fifo) -> None:
        self._queue = queue

    def try_dispatch(self, candidates: Sequence[Any], *_: Any, **__: Any) -> Permit | None:
        return Permit(self._queue, candidates[0]) if self._queue.take() else None

    async def dispatch(self, candidates: Sequence[Any], deadline: float, *_: Any, **__: Any) -> Permit:
        if not self._queue.take():
            await self._queue.wait(deadline - self._queue.clock())
        return Permit(self._queue, candidates[0])


class Permit:
    def __init__(self, queue: Fifo, deployment: Any) -> None:
        self.deployment = deployment
        self._queue: Fifo | None = queue

    def release(self) -> None:
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.release()


LONGEST = {"fifo": None, "fifo-100": 100}
"""The queues of this module by name, and the bound of the line of each."""


def queue_named(name: str, clock: Callable[[], float], seats: int) -> Fifo | None:
    """The queue of this name; None for `tidegate`, the gateway's own."""
    return None if name == "tidegate" else Fifo(clock, seats, LONGEST[name])
