"""A place in the queue. Nobody waits here: the place ages while later stages run, and `attempt` takes the permit."""

from __future__ import annotations

from tidegate.dispatch.seats import Queue
from tidegate.types import Call


class Admit:
    """The stage `admit`."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def __call__(self, call: Call) -> None:
        """Enter the queue."""
        call.place = self._queue.enter()
