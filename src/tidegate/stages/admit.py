"""A place in the queue. Nothing waits here: the place ages while later stages run, and `attempt` takes the permit."""

from __future__ import annotations

from tidegate.call import Call
from tidegate.dispatch.queue import Queue
from tidegate.types import ANSWER


class Admit:
    """The stage `admit`."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def __call__(self, call: Call) -> None:
        """Enter the queue."""
        call.place = self._queue.enter(internal=call.purpose != ANSWER, bound=call.parent is not None)
