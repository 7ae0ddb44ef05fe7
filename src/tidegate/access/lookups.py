"""How often the store may be asked for ids that it does not have.

Any text with a right check digit makes the gateway ask its store. So each address may try a few unknown ids a second, and
all addresses together may try more. Ids that the store has are not counted: many clients behind one address may all start
at the same moment.
"""

from __future__ import annotations

import math

import msgspec

from tidegate.errors import Overloaded
from tidegate.ports import Clock


class Pace(msgspec.Struct, frozen=True):
    """A number of tries per second in the long run, and how many may come at once."""

    per_s: float
    at_once: int


FOR_ONE = Pace(20.0, 50)
FOR_ALL = Pace(500.0, 500)
MOST_PEERS = 10_000


class Lookups:
    """Two rates, each as a theoretical arrival time (GCRA, ITU-T I.371): of each address and of all together."""

    def __init__(self, clock: Clock, *, for_one: Pace = FOR_ONE, for_all: Pace = FOR_ALL) -> None:
        self._clock = clock
        self._for_one = for_one
        self._for_all = for_all
        self._peers: dict[str, float] = {}
        self._all = -math.inf

    def take(self, peer: str) -> None:
        """Count one look-up. Raises Overloaded if there were too many, and counts nothing then."""
        now = self._clock()
        one, all_ = max(self._peers.pop(peer, now), now), max(self._all, now)
        wait_s = max(_wait_s(self._for_one, one - now), _wait_s(self._for_all, all_ - now))
        if wait_s > 0:
            self._keep(peer, one)
            raise Overloaded("Too many unknown API keys were tried: try again later", retry_after_s=wait_s)
        self._keep(peer, one + 1 / self._for_one.per_s)
        self._all = all_ + 1 / self._for_all.per_s

    def give_back(self, peer: str) -> None:
        """Take back the count of one look-up, since the store had the key."""
        if peer in self._peers:
            self._peers[peer] -= 1 / self._for_one.per_s
        self._all -= 1 / self._for_all.per_s

    def _keep(self, peer: str, arrival: float) -> None:
        if len(self._peers) >= MOST_PEERS:
            del self._peers[next(iter(self._peers))]
        self._peers[peer] = arrival


def _wait_s(pace: Pace, ahead_s: float) -> float:
    """How long to wait until one more fits, in seconds; at most 0 if it fits now."""
    return ahead_s - (pace.at_once - 1) / pace.per_s
