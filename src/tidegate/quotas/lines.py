"""Calls that wait for quota, under a policy with `on_limit: wait`. Each key has a line: first come, first served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

MOST_WAITING = 1000
"""The calls that may wait for quota at the same time."""
MOST_OF_A_KEY = 100
"""The calls of one key that may wait at the same time."""


class _Line:
    def __init__(self) -> None:
        self.first = asyncio.Lock()  # which wakes those that wait for it in their order
        self.length = 0


class Lines:
    """The lines of all keys. They are bounded, and a call that finds no place has to be refused."""

    def __init__(self, *, most: int = MOST_WAITING, most_of_a_key: int = MOST_OF_A_KEY) -> None:
        self._most = most
        self._most_of_a_key = most_of_a_key
        self._lines: dict[str, _Line] = {}
        self.waiting = 0

    def has(self, key: str) -> bool:
        """Return whether calls of a key wait. A call that comes later has to wait behind them."""
        return key in self._lines

    def has_room(self, key: str) -> bool:
        """Return whether one more call of a key may wait."""
        line = self._lines.get(key)
        return self.waiting < self._most and (line is None or line.length < self._most_of_a_key)

    @asynccontextmanager
    async def first(self, key: str) -> AsyncGenerator[None]:
        """Wait until the call is the first of its line. It leaves the line at the end of the block."""
        line = self._lines.setdefault(key, _Line())
        line.length += 1
        self.waiting += 1
        try:
            async with line.first:
                yield
        finally:
            line.length -= 1
            self.waiting -= 1
            if not line.length:
                del self._lines[key]
