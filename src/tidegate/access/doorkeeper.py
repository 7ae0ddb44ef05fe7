"""Recognises a key that a request shows. Clients never learn why a key is refused; the log does."""

from __future__ import annotations

import logging

from tidegate.access.configured import Keys
from tidegate.access.keys import Peppers, holds
from tidegate.errors import Unauthenticated
from tidegate.ports import Wall
from tidegate.types import Key

TELL_EVERY_S = 60.0
"""A key that is refused again and again is told in the log so often at most."""

log = logging.getLogger(__name__)


class Doorkeeper:
    """Recognises the keys of a configuration. Satisfies `Identifies`. `wall` is in seconds since the epoch."""

    def __init__(self, keys: Keys, peppers: Peppers, wall: Wall) -> None:
        self._keys = keys
        self._peppers = peppers
        self._wall = wall
        self._told: dict[str, float] = {}

    def recall(self, text: str) -> Key | None:
        """The key that a request shows, if it is valid. None says no more than: ask `identify`."""
        key, why = self._judge(text)
        return None if why else key

    async def identify(self, text: str, *, peer: str = "") -> Key:
        """The same, but raises Unauthenticated, always with the same words, for a key that is not valid."""
        del peer
        key, why = self._judge(text)
        if key is None or why:
            if key is not None:
                self._tell(key, why)
            raise Unauthenticated("The API key is not valid")
        return key

    def _judge(self, text: str) -> tuple[Key | None, str]:
        """Return the key with this secret, and the reason why it is not valid, which is "" if it is.

        The work is the same for every secret, known or not: one digest, one look-up by the digest, and `holds`.
        """
        digest = self._peppers.digest(text)
        key, now = self._keys.find(digest.hex()), self._wall()
        valid = holds(() if key is None else key.secrets, (digest,), now=now)
        return key, "it is unknown" if key is None else _why_not(key, now, valid=valid)

    def _tell(self, key: Key, why: str) -> None:
        now = self._wall()
        # Only known keys get here, so there are as many entries as keys.
        if now >= self._told.get(key.id, float("-inf")) + TELL_EVERY_S:
            self._told[key.id] = now
            log.warning("the key '%s' was refused: %s", key.name or key.caller.key, why)


def _why_not(key: Key, now: float, *, valid: bool) -> str:
    """Why a known key is refused; "" if it is not."""
    if key.revoked_at is not None and now >= key.revoked_at:
        return "it is revoked"
    if key.expires_at is not None and now >= key.expires_at:
        return "it has expired"
    return "" if valid else "this secret of it is not valid any more"
