"""How often the store may be asked for ids that it does not have.

Any text with a right check digit makes the gateway ask its store. So each address may try a few unknown ids a second, and
all addresses together may try more. Ids that the store has are not counted: many clients behind one address may all start
at the same moment.
"""

from __future__ import annotations

from tidegate.errors import Overloaded
from tidegate.kernel.bucket import Bucket, Rate
from tidegate.ports import Clock

_SECOND_US = 1_000_000
FOR_ONE = Rate(capacity=50, amount=20, window_us=_SECOND_US)
FOR_ALL = Rate(capacity=500, amount=500, window_us=_SECOND_US)
MOST_PEERS = 10_000


class Lookups:
    """Two kinds of buckets: one for each address, and one for all addresses together."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._peers: dict[str, Bucket] = {}
        self._all = Bucket(FOR_ALL)

    def take(self, peer: str) -> None:
        """Count one look-up. Raises Overloaded if there were too many, and counts nothing then."""
        now_us = self._now_us()
        one = self._of(peer, now_us)
        wait_us = max(one.wait_us(1, now_us), self._all.wait_us(1, now_us))
        if wait_us > 0:
            raise Overloaded(
                "Too many unknown API keys were tried: try again later", retry_after_s=wait_us / _SECOND_US
            )
        one.settle(1, now_us)
        self._all.settle(1, now_us)

    def give_back(self, peer: str) -> None:
        """Take back the count of one look-up, since the store had the key."""
        now_us = self._now_us()
        if peer in self._peers:
            self._peers[peer].settle(-1, now_us)
        self._all.settle(-1, now_us)

    def _of(self, peer: str, now_us: int) -> Bucket:
        """Return the bucket of an address. The address that was used the longest time ago gives way to a new one."""
        bucket = self._peers.pop(peer, None) or Bucket(FOR_ONE, now_us)
        if len(self._peers) >= MOST_PEERS:
            del self._peers[next(iter(self._peers))]
        self._peers[peer] = bucket
        return bucket

    def _now_us(self) -> int:
        return int(self._clock() * _SECOND_US)
