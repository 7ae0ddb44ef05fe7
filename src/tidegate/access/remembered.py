"""The keys that were found in the store, and the ids that were not, for as long as either can be relied upon. No I/O."""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from typing import TypeVar

from tidegate.ports import Clock
from tidegate.types import Key

ASK_AGAIN_S = 1.0
"""How long a doubtful key is used while the store is asked for it, and before the store is asked again."""

T = TypeVar("T")


class _Found:
    """A key from the store. It was right at `right_at`, and from `ask_at` on the store has to be asked for it."""

    __slots__ = ("ask_at", "key", "right_at")

    def __init__(self, key: Key, right_at: float) -> None:
        self.key = key
        self.right_at = right_at
        self.ask_at = math.inf


class Remembered:
    """A cache of keys by id, and apart from it a cache of unknown ids, so that a flood of those evicts no key.

    While the store tells its changes, what is remembered is right. Once it no longer does (`lost`), a key is used for
    `max_stale_s` more. After a gap every key is doubtful: the store is asked for it, and if the store does not answer, the
    key is used until `max_stale_s` after the moment when it was last known to be right.

    `heard` counts the changes that were told.
    """

    def __init__(self, clock: Clock, *, max_stale_s: float, most: int) -> None:
        self._clock = clock
        self.max_stale_s = max_stale_s
        self._most = most
        self._found: dict[str, _Found] = {}
        self._absent: dict[str, None] = {}
        self._lost_at: float | None = clock()  # the store has told nothing yet
        self.heard = 0

    def __contains__(self, id: str) -> bool:
        return id in self._found

    def sure(self, id: str) -> Key | None:
        """Return the key if the store need not be asked for it."""
        found = self._found.get(id)
        if found is None or (found.ask_at != math.inf and self._clock() >= found.ask_at):
            return None
        return self._usable(found)

    def doubted(self, id: str) -> Key | None:
        """Return the key if it may be used because the store does not answer."""
        found = self._found.get(id)
        return None if found is None else self._usable(found)

    def absent(self, id: str) -> bool:
        """Return whether the store is known to have no such key."""
        return self._lost_at is None and id in self._absent

    def asking(self, id: str) -> None:
        """Note that the store is being asked. Other calls use a doubtful key meanwhile, and do not ask as well."""
        if (found := self._found.get(id)) is not None and found.ask_at != math.inf:
            found.ask_at = self._clock() + ASK_AGAIN_S

    def put(self, id: str, key: Key | None) -> None:
        """Remember what the store answered."""
        self._forget(id)
        if key is None:
            _add(self._absent, id, None, most=self._most)
        else:
            _add(self._found, id, _Found(key, self._clock()), most=self._most)

    def changed(self, id: str) -> None:
        """Forget what a change has made wrong: one id, or with the empty id everything that was told before."""
        self.heard += 1
        if id:
            self._forget(id)
            return
        now = self._clock()
        for found in self._found.values():
            if found.ask_at == math.inf:
                found.right_at = max(found.right_at, self._lost_at) if self._lost_at is not None else now
                found.ask_at = now
        self._absent.clear()
        self._lost_at = None

    def lost(self) -> None:
        """Note that the store no longer tells its changes."""
        if self._lost_at is None:
            self._lost_at = self._clock()

    def _usable(self, found: _Found) -> Key | None:
        right_at = found.right_at
        if found.ask_at == math.inf:
            if self._lost_at is None:
                return found.key
            right_at = max(right_at, self._lost_at)
        return found.key if self._clock() < right_at + self.max_stale_s else None

    def _forget(self, id: str) -> None:
        self._found.pop(id, None)
        self._absent.pop(id, None)


def _add(to: MutableMapping[str, T], id: str, value: T, *, most: int) -> None:
    """Add an entry; the oldest one leaves when there are too many."""
    if len(to) >= most:
        del to[next(iter(to))]
    to[id] = value
