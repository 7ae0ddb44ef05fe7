"""First come, first served: the queues that the gateway's own is compared with.

They refuse a call only if their line is full, and know neither classes nor tenants. A client that leaves is out of the line
at once, as in the gateway's own queue. Gateways that do not notice it serve worse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tidegate.dispatch.place import Permit, Place
from tidegate.dispatch.queue import Queue
from tidegate.dispatch.rules import Needs, QueueRules

NEEDS = Needs("fifo")
ENDLESS = 10**9


class Fifo(Queue):
    """A queue with one line. `longest` None means that the line has no bound."""

    def __init__(self, clock: Callable[[], float], longest: int | None = None) -> None:
        self._own = QueueRules(max_size=longest or ENDLESS, max_bytes=ENDLESS, longest_wait_s=ENDLESS)
        super().__init__(clock, self._own)

    def configure(self, rules: QueueRules) -> None:
        """Keep its own bounds, whatever the configuration says."""
        del rules
        super().configure(self._own)

    def enter(self, priority: str, describe: Callable[[], Needs], deployments: Sequence[Any]) -> Place:
        """Return a place at the end of the line, if the line has one."""
        del priority, describe
        place = Place(next(self._ranks), self, NEEDS.priority, self.clock(), needs=NEEDS)
        seats = [one.seats for one in deployments]
        if not any(not one.line.size and one.has_free() for one in seats):
            self._count_in(place, NEEDS, seats)
        return place

    async def wait(self, place: Place, needs: Needs, candidates: Sequence[Any], deadline: float) -> Permit:
        """Wait behind all who came earlier."""
        del needs
        return await super().wait(place, NEEDS, candidates, deadline)


LONGEST = {"fifo": None, "fifo-100": 100}
"""The queues of this module by name, and the bound of the line of each."""


def queue_named(name: str, clock: Callable[[], float]) -> Fifo | None:
    """The queue of this name; None for `tidegate`, the gateway's own."""
    return None if name == "tidegate" else Fifo(clock, LONGEST[name])
