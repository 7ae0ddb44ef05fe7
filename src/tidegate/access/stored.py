"""The keys of one store: a bounded cache over it, look-ups that cost little, and the times of last use.

The store is asked only for keys that are not in the cache, and told changes take keys out of the cache. When the store
cannot be reached, the keys in the cache stay valid for a while, and every other key is refused with Overloaded: whether it
is valid cannot be known.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import NoReturn

from tidegate.access.lookups import Lookups
from tidegate.access.remembered import Remembered
from tidegate.errors import Overloaded
from tidegate.ports import Clock, KeyStore
from tidegate.types import Key

MAX_STALE_S = 60.0
MOST_KEYS = 10_000
"""How many keys, and how many unknown ids, the cache holds."""
LOOK_UP_TIMEOUT_S = 2.0
LISTEN_AGAIN_S = 1.0
"""The pause before the store is listened to again, once it could no longer tell changes."""
WRITE_USED_S = 10.0
"""How often times of last use are written."""

log = logging.getLogger(__name__)


class StoredKeys:
    """The keys of one store.

    Start `follow` and `write_used` as background tasks. Before `follow` runs, the store counts as one that cannot tell its
    changes, so a key is valid for `max_stale_s` after a look-up.
    """

    def __init__(
        self, store: KeyStore, clock: Clock, *, max_stale_s: float = MAX_STALE_S, most_keys: int = MOST_KEYS
    ) -> None:
        """`max_stale_s` is how long known keys stay valid without the store."""
        self.store = store
        self._cache = Remembered(clock, max_stale_s=max_stale_s, most=most_keys)
        self._lookups = Lookups(clock)
        self._used: dict[str, float] = {}
        self._most_used = most_keys
        self._silent = False
        # The cache's own methods, since each call needs one of them.
        self.sure = self._cache.sure
        self.changed = self._cache.changed

    def keep_for(self, max_stale_s: float) -> None:
        """Change how long known keys stay valid without the store."""
        self._cache.max_stale_s = max_stale_s

    def note_used(self, id: str, now: float) -> None:
        """Note that a key was used at `now`, in seconds since the epoch."""
        if id in self._used or len(self._used) < self._most_used:
            self._used[id] = now

    async def find(self, id: str, peer: str) -> Key | None:
        """Return the key with this id for a client at the address `peer`, or None if there is none.

        Raises Overloaded if the store has to be asked and does not answer, or was asked too often.
        """
        if self._cache.absent(id):
            return None
        if (key := self._cache.sure(id)) is not None:
            return key
        if id in self._cache:
            return await self._ask_again(id)
        self._lookups.take(peer)
        key = await self._ask(id)
        if key is not None:
            self._lookups.give_back(peer)
        return key

    async def follow(self) -> NoReturn:
        """Take changed keys out of the cache as the store tells them, for ever."""
        while True:
            await self._listen()
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def write_used(self) -> NoReturn:
        """Write times of last use to the store every ten seconds, for ever. Call `flush` at the end."""
        while True:
            await asyncio.sleep(WRITE_USED_S)
            await self.flush()

    async def flush(self) -> None:
        """Write the times of last use that wait. If the store does not answer, they go on waiting."""
        if not self._used:
            return
        waiting, self._used = self._used, {}
        written = False
        try:
            await self.store.used(waiting)
            written = True
        except Overloaded as error:
            log.warning("the times of last use of %d keys were not written: %s", len(waiting), error.message)
        finally:
            if not written:
                self._used = waiting | self._used

    async def _listen(self) -> None:
        """Listen to the store until it can no longer tell its changes."""
        try:
            async with aclosing(self.store.changes()) as changes:
                async for changed in changes:
                    self._silent = False
                    self._cache.changed(changed)
        except Overloaded as error:
            if not self._silent:
                log.warning("the key store does not tell its changes: %s", error.cause or error.message)
            self._silent = True
        finally:
            self._cache.lost()

    async def _ask_again(self, id: str) -> Key | None:
        """Ask the store for a key that has become doubtful, and use the doubtful one if the store does not answer."""
        self._cache.asking(id)
        try:
            return await self._ask(id)
        except Overloaded:
            if (key := self._cache.doubted(id)) is None:
                raise
            return key

    async def _ask(self, id: str) -> Key | None:
        heard = self._cache.heard
        try:
            async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
                key = await self.store.find(id)
        except (Overloaded, TimeoutError) as error:
            failed = Overloaded("The API key cannot be checked now: the store of keys does not answer")
            failed.cause = (error.cause or error.message) if isinstance(error, Overloaded) else "timed out"
            raise failed from error
        # A change that was told meanwhile may be of this key, and newer than what was found.
        if heard == self._cache.heard:
            self._cache.put(id, key)
        return key
