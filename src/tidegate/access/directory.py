"""Finds the key that a client has sent: in the configuration, in a bounded cache, or in the store.

The common case is a read of two dicts and one digest. The store is asked only for keys that are not in the cache, and told
changes take keys out of the cache. When the store cannot be reached, the keys in the cache stay valid for a while, and
every other key is refused with Overloaded: whether it is valid cannot be known.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import aclosing
from typing import NoReturn

from tidegate.access.keys import Peppers, holds, id_of, parse
from tidegate.access.lookups import Lookups
from tidegate.access.remembered import Remembered
from tidegate.errors import Overloaded, Unauthenticated
from tidegate.ports import Clock, KeyStore, Wall
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


class Directory:
    """The keys of one gateway.

    `configured` are the keys of the configuration; their secrets may have any form. `store` has the others, and None means
    that there are no others. `max_stale_s` is how long known keys stay valid without the store.

    Start `follow` and `write_used` as background tasks. Before `follow` runs, the store counts as one that cannot tell its
    changes, so a key is valid for `max_stale_s` after a look-up.
    """

    def __init__(
        self,
        peppers: Peppers,
        store: KeyStore | None = None,
        *,
        clock: Clock,
        wall: Wall,
        max_stale_s: float = MAX_STALE_S,
        most_keys: int = MOST_KEYS,
    ) -> None:
        self._peppers = peppers
        self._store = store
        self._clock = clock
        self._wall = wall
        self._configured: dict[bytes, Key] = {}
        self._cache = Remembered(clock, max_stale_s=max_stale_s, most=most_keys)
        self._lookups = Lookups(clock)
        self._used: dict[str, float] = {}
        self._most_used = most_keys
        self._silent = False

    def configure(self, keys: Iterable[Key]) -> None:
        """Put the keys of a configuration in the place of those of the last one."""
        self._configured = {secret.digest: key for key in keys for secret in key.secrets}

    def recall(self, text: str) -> Key | None:
        """Return the key if it can be told at once that it is valid. None says no more than: ask `identify`."""
        digests = self._peppers.digests(text)
        key = self._in_configuration(digests) or self._cache.sure(id_of(text))
        now = self._wall()
        if key is None or not holds(key.secrets, digests, now=now) or _ended(key, now) is not None:
            return None
        self._note_used(key, now)
        return key

    async def identify(self, text: str, *, peer: str = "") -> Key:
        """Return the key that a client at the address `peer` has sent.

        Raises Unauthenticated, and Overloaded if the store has to be asked and does not answer, or was asked too often.
        """
        digests = self._peppers.digests(text)
        key = self._in_configuration(digests)
        if key is None:
            parsed = parse(text)
            if parsed is None:
                raise Unauthenticated(_MALFORMED)
            key = await self._find(parsed.id, peer)
        now = self._wall()
        held = holds(key.secrets if key is not None else (), digests, now=now)
        if key is None or not held:
            raise Unauthenticated(_UNKNOWN)
        if (why := _ended(key, now)) is not None:
            raise Unauthenticated(why)
        self._note_used(key, now)
        return key

    async def follow(self) -> NoReturn:
        """Take changed keys out of the cache as the store tells them, for ever. Without a store this waits for ever."""
        while True:
            if self._store is not None:
                await self._listen(self._store)
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def write_used(self) -> NoReturn:
        """Write times of last use to the store every ten seconds, for ever. Call `flush` at the end."""
        while True:
            await asyncio.sleep(WRITE_USED_S)
            await self.flush()

    async def flush(self) -> None:
        """Write the times of last use that wait. If the store does not answer, they go on waiting."""
        if self._store is None or not self._used:
            return
        waiting, self._used = self._used, {}
        try:
            await self._store.used(waiting)
        except Overloaded as error:
            self._used = waiting | self._used
            log.warning("the times of last use of %d keys were not written: %s", len(waiting), error.message)

    async def _listen(self, store: KeyStore) -> None:
        """Listen to the store until it can no longer tell its changes."""
        try:
            async with aclosing(store.changes()) as changes:
                async for changed in changes:
                    self._silent = False
                    self._cache.changed(changed)
        except Overloaded as error:
            if not self._silent:
                log.warning("the key store does not tell its changes: %s", error.cause or error.message)
            self._silent = True
        finally:
            self._cache.lost()

    def _in_configuration(self, digests: tuple[bytes, ...]) -> Key | None:
        # A dict does not compare in constant time. That tells nothing: without the pepper, no digest can be aimed at.
        for digest in digests:
            if (key := self._configured.get(digest)) is not None:
                return key
        return None

    async def _find(self, id: str, peer: str) -> Key | None:
        """The key with this id; None if there is none. Raises Overloaded."""
        if self._store is None or self._cache.absent(id):
            return None
        if (key := self._cache.sure(id)) is not None:
            return key
        if id in self._cache:
            return await self._ask_again(self._store, id)
        self._lookups.take(peer)
        key = await self._ask(self._store, id)
        if key is not None:
            self._lookups.give_back(peer)
        return key

    async def _ask_again(self, store: KeyStore, id: str) -> Key | None:
        """Ask the store for a key that has become doubtful, and use the doubtful one if the store does not answer."""
        self._cache.asking(id)
        try:
            return await self._ask(store, id)
        except Overloaded:
            if (key := self._cache.doubted(id)) is None:
                raise
            return key

    async def _ask(self, store: KeyStore, id: str) -> Key | None:
        heard = self._cache.heard
        try:
            async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
                key = await store.find(id)
        except (Overloaded, TimeoutError) as error:
            failed = Overloaded("The API key cannot be checked now: the store of keys does not answer")
            failed.cause = (error.cause or error.message) if isinstance(error, Overloaded) else "timed out"
            raise failed from error
        # A change that was told meanwhile may be of this key, and newer than what was found.
        if heard == self._cache.heard:
            self._cache.put(id, key)
        return key

    def _note_used(self, key: Key, now: float) -> None:
        if self._store is not None and (key.id in self._used or len(self._used) < self._most_used):
            self._used[key.id] = now


def _ended(key: Key, now: float) -> str | None:
    """Why a key is no longer valid; None if it is."""
    if key.revoked_at is not None:
        return "This API key was revoked: use another one"
    if key.expires_at is not None and now >= key.expires_at:
        return "This API key has expired: use another one"
    return None


_MALFORMED = (
    "This is not an API key of this gateway, or there is a typing error in it: a key reads tg_<id>_<secret>,"
    " 65 characters long"
)
_UNKNOWN = "The API key is not known: use one that this gateway has made"
