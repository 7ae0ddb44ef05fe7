"""A shared memory budget: it counts bytes per holder, and limits their sum.

The budget only counts: it decides whether a holder may continue, and allocates no memory. `try_take` refuses if the bytes
do not fit. `take` waits until they fit; waiting callers are served in the order of their requests. `cover` counts bytes
that are already in memory, whether they fit or not.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Self

UNCOUNTED_BYTES = 64 * 1024
"""A request of at most this size never waits and is never refused: the number of connections bounds their sum."""


class _Waiting(NamedTuple):
    more_bytes: int
    granted: asyncio.Future[None]


class ByteBudget:
    """A limit for the bytes that all rooms hold together.

    Two exceptions prevent a deadlock. An amount larger than the whole budget is granted if no other room holds bytes. The
    oldest holder gets any amount, since it has to end before the others can continue. So all holders except the oldest
    together stay within the budget, unless they use `cover`.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self.had_to_wait = 0
        self.refused = 0
        self._holders: dict[Room, None] = {}  # the oldest first
        self._waiting: dict[Room, _Waiting] = {}  # in the order of asking

    @property
    def waiting(self) -> int:
        """The number of rooms that wait."""
        return len(self._waiting)

    def room(self) -> Room:
        """Return a new, empty room for one holder. At the end of a `with` statement, the room gives its bytes back."""
        return Room(self)

    def fits(self, more_bytes: int) -> bool:
        """Return whether `more_bytes` are left in the budget."""
        return self.held_bytes + more_bytes <= self.limit_bytes

    async def wait(self, room: Room, more_bytes: int) -> None:
        """Count bytes for a room as soon as they fit. Called by `Room.take`."""
        if not self._waiting and self._may_have(room, more_bytes):
            self.book(room, more_bytes)
            return
        assert room not in self._waiting, "a room waits for one thing at a time"
        self.had_to_wait += 1
        granted = asyncio.get_running_loop().create_future()
        self._waiting[room] = _Waiting(more_bytes, granted)
        self._serve()
        try:
            await granted
        finally:
            if self._waiting.pop(room, None) is not None:  # cancelled, so the requests behind it may fit now
                self._serve()

    def book(self, room: Room, more_bytes: int) -> None:
        """Count bytes for a room, whether they fit or not."""
        self._holders[room] = None
        room.held_bytes += more_bytes
        self.held_bytes += more_bytes

    def release(self, room: Room) -> None:
        """Give back all bytes of a room and serve the rooms that wait. Called by `Room.release`."""
        del self._holders[room]
        self.held_bytes -= room.held_bytes
        room.held_bytes = 0
        if self._waiting:
            self._serve()

    def _may_have(self, room: Room, more_bytes: int) -> bool:
        return self.fits(more_bytes) or not self._holders or next(iter(self._holders)) is room

    def _serve(self) -> None:
        """Grant every request that can be granted now."""
        if self._holders and (oldest := next(iter(self._holders))) in self._waiting:
            self._grant(oldest)
        while self._waiting:
            room = next(iter(self._waiting))
            if not self._may_have(room, self._waiting[room].more_bytes):
                return
            self._grant(room)

    def _grant(self, room: Room) -> None:
        more_bytes, granted = self._waiting.pop(room)
        if not granted.done():  # it is done if it was cancelled in this turn of the loop
            self.book(room, more_bytes)
            granted.set_result(None)


class Room:
    """One holder's part of a budget. Each `size_bytes` is the total that the holder wants, not the difference."""

    __slots__ = ("_budget", "held_bytes")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.held_bytes = 0

    def beside(self) -> Room:
        """Return a new, empty room of the same budget."""
        return self._budget.room()

    async def take(self, size_bytes: int) -> None:
        """Hold `size_bytes` in all. Wait until they fit into the budget."""
        if size_bytes > self.held_bytes:
            await self._budget.wait(self, size_bytes - self.held_bytes)

    def could_take(self, size_bytes: int) -> bool:
        """Return whether `try_take` would succeed, as it always does up to 64 KiB. A False is counted as a refusal."""
        if size_bytes <= UNCOUNTED_BYTES or self._budget.fits(size_bytes - self.held_bytes):
            return True
        self._budget.refused += 1
        return False

    def try_take(self, size_bytes: int) -> bool:
        """Hold `size_bytes` in all if they fit now or are at most 64 KiB. Return whether they are held.

        A False is counted as a refusal.
        """
        if not self.could_take(size_bytes):
            return False
        self.cover(size_bytes)
        return True

    def cover(self, size_bytes: int) -> None:
        """Count `size_bytes` in all that are already in memory, whether they fit or not."""
        if size_bytes > self.held_bytes:
            self._budget.book(self, size_bytes - self.held_bytes)

    def release(self) -> None:
        """Give back everything."""
        if self.held_bytes:
            self._budget.release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
