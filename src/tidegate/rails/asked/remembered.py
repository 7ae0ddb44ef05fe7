"""Verdicts that a rail remembers by the content it has checked, so that the same content is not paid for twice."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable

from tidegate.ports import Clock
from tidegate.types import Verdict

MOST = 4096
"""The most verdicts that one rail remembers. A verdict takes about 400 bytes."""


class Remembered:
    """The verdicts of one rail, for `ttl_s` seconds each. With 0, none is remembered.

    Verdicts of rails that failed are never remembered: the next call may do better.
    """

    def __init__(self, clock: Clock, ttl_s: float) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._verdicts: OrderedDict[bytes, tuple[float, Verdict]] = OrderedDict()

    def key_of(self, parts: Iterable[str]) -> bytes:
        """Return the key for some content, given in parts. Parts that are cut elsewhere have another key.

        It is empty if nothing is remembered.
        """
        if not self._ttl_s:
            return b""
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        return digest.digest()

    def get(self, key: bytes) -> Verdict | None:
        """Return the verdict on this content, or None."""
        found = self._verdicts.get(key)
        if found is None:
            return None
        until, verdict = found
        if until <= self._clock():
            del self._verdicts[key]
            return None
        self._verdicts.move_to_end(key)
        return verdict

    def put(self, key: bytes, verdict: Verdict) -> None:
        """Remember a verdict. The one that was not used for the longest time makes room for it."""
        if verdict.error or not self._ttl_s:
            return
        self._verdicts[key] = self._clock() + self._ttl_s, verdict
        self._verdicts.move_to_end(key)
        if len(self._verdicts) > MOST:
            self._verdicts.popitem(last=False)
