"""Recognises the key that a client has sent, among the keys of the configuration and those of the store.

The common case is a digest and a read of one or two dicts. Clients never learn why a key is refused; the log does.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable

from tidegate.access.keys import Peppers, holds, id_of, parse
from tidegate.access.stored import StoredKeys
from tidegate.errors import Unauthenticated
from tidegate.ports import Clock, Wall
from tidegate.types import Key

TELL_EVERY_S = 60.0
"""A key that is refused again and again is told in the log so often at most."""
MOST_TOLD = 10_000
"""For so many keys it is remembered when the log was told. With more of them, the log may be told earlier again."""

NOT_VALID = "The API key is not valid"
"""What the client is told of every key that is not valid."""

log = logging.getLogger(__name__)


class Directory:
    """The keys of one gateway. Satisfies `Identifies`. It has no key until `configure` is called."""

    def __init__(self, clock: Clock, wall: Wall) -> None:
        self._clock = clock
        self._wall = wall
        self._peppers = Peppers([secrets.token_bytes(32)])
        self._configured: dict[bytes, Key] = {}
        self._stored: StoredKeys | None = None
        self._told: dict[str, float] = {}

    def configure(self, keys: Iterable[Key], peppers: Peppers, stored: StoredKeys | None = None) -> None:
        """Put the keys of a configuration, its peppers and its store in the place of those of the last one.

        `keys` are those of the configuration itself, and `stored` are those of its store, None without one.
        """
        self._configured = {secret.digest: key for key in keys for secret in key.secrets}
        self._peppers = peppers
        self._stored = stored

    @property
    def peppers(self) -> Peppers:
        """The peppers in force."""
        return self._peppers

    @property
    def stored(self) -> StoredKeys | None:
        """The keys of the store in force, None without one."""
        return self._stored

    def recall(self, text: str) -> Key | None:
        """Return the key if it can be told at once that it is valid. None says no more than: ask `identify`."""
        digests = self._peppers.digests(text)
        stored, key = None, self._configured.get(digests[0]) or self._in_configuration(digests)
        if key is None and ((stored := self._stored) is None or (key := stored.sure(id_of(text))) is None):
            return None
        now = self._wall()
        if not holds(key.secrets, digests, now=now) or _ended(key, now):
            return None
        if stored is not None:
            stored.note_used(key.id, now)
        return key

    async def identify(self, text: str, *, peer: str = "") -> Key:
        """Return the key that a client at the address `peer` has sent.

        Raises Unauthenticated, with the same words for every key that is not valid. Raises Overloaded if the store has to
        be asked and does not answer, or was asked too often.
        """
        digests = self._peppers.digests(text)
        stored, key = None, self._in_configuration(digests)
        if key is None and (stored := self._stored) is not None and (parsed := parse(text)) is not None:
            key = await stored.find(parsed.id, peer)
        now = self._wall()
        held = holds(key.secrets if key is not None else (), digests, now=now)
        if key is None or not held or _ended(key, now):
            if key is not None:
                self._tell(key, _ended(key, now) or "this secret of it is wrong, or not valid any more")
            raise Unauthenticated(NOT_VALID)
        if stored is not None:
            stored.note_used(key.id, now)
        return key

    def _in_configuration(self, digests: tuple[bytes, ...]) -> Key | None:
        # A dict does not compare in constant time. That tells nothing: without the pepper, no digest can be aimed at.
        for digest in digests:
            if (key := self._configured.get(digest)) is not None:
                return key
        return None

    def _tell(self, key: Key, why: str) -> None:
        now = self._clock()
        if now < self._told.get(key.id, float("-inf")) + TELL_EVERY_S:
            return
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told[key.id] = now
        log.warning("the key '%s' was refused: %s", key.caller.key, why)


def _ended(key: Key, now: float) -> str:
    """Why a key is no longer valid; "" if it is."""
    if key.revoked_at is not None:
        return "it is revoked"
    return "it has expired" if key.expires_at is not None and now >= key.expires_at else ""
