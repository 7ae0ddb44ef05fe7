"""The stage `admit`: a place in the queue.

The stage itself never waits. The place gains age while later stages run, and `attempt` waits for the permit.
"""

from __future__ import annotations

from tidegate.call import Call
from tidegate.dispatch.queue import Queue
from tidegate.types import ANSWER


class Admit:
    """Gives each call a place in the queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def __call__(self, call: Call) -> None:
        """Enter the queue and set the call's place."""
        call.place = self._queue.enter(internal=call.purpose != ANSWER, bound=call.parent is not None)
