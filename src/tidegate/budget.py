"""Memory that many share: a number of bytes, and who holds how many of them.

It decides who may go on, and moves no bytes itself. Who can be refused asks `try_take`; who can wait awaits `take`, and is
served in the order of asking. What is there already is counted by `cover`, whether it fits or not.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Self

UNCOUNTED_BYTES = 64 * 1024
"""What is no larger never waits and is never refused: the number of connections bounds it."""


class _Waiting(NamedTuple):
    more_bytes: int
    granted: asyncio.Future[None]


class ByteBudget:
    """A bound on the bytes that all rooms together hold.

    Two exceptions keep it from ever standing still. An amount larger than the whole budget is granted where nothing else is
    held. The oldest holder gets whatever it asks for: it has to end before the others can go on. So all holders but the
    oldest hold no more than the budget, unless they `cover`.
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
        """How many wait."""
        return len(self._waiting)

    def room(self) -> Room:
        """Room for one holder, empty; its `with` gives back what it took."""
        return Room(self)

    def fits(self, more_bytes: int) -> bool:
        """Whether so much more is left."""
        return self.held_bytes + more_bytes <= self.limit_bytes

    async def wait(self, room: Room, more_bytes: int) -> None:
        """For `Room.take`."""
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
            if self._waiting.pop(room, None) is not None:  # it was cancelled; others may have stood behind it
                self._serve()

    def book(self, room: Room, more_bytes: int) -> None:
        """Count bytes for a room, whether they fit or not."""
        self._holders[room] = None
        room.held_bytes += more_bytes
        self.held_bytes += more_bytes

    def release(self, room: Room) -> None:
        """For `Room.release`."""
        del self._holders[room]
        self.held_bytes -= room.held_bytes
        room.held_bytes = 0
        if self._waiting:
            self._serve()

    def _may_have(self, room: Room, more_bytes: int) -> bool:
        return self.fits(more_bytes) or not self._holders or next(iter(self._holders)) is room

    def _serve(self) -> None:
        """Grant what can be granted now."""
        if self._holders and (oldest := next(iter(self._holders))) in self._waiting:
            self._grant(oldest)
        while self._waiting:
            room = next(iter(self._waiting))
            if not self._may_have(room, self._waiting[room].more_bytes):
                return
            self._grant(room)

    def _grant(self, room: Room) -> None:
        more_bytes, granted = self._waiting.pop(room)
        if not granted.done():  # else it was cancelled in this turn of the loop
            self.book(room, more_bytes)
            granted.set_result(None)


class Room:
    """What one holder has of a budget. All sizes are those of everything it holds, not of what comes on top."""

    __slots__ = ("_budget", "held_bytes")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.held_bytes = 0

    async def take(self, size_bytes: int) -> None:
        """Hold so many bytes, as soon as there is room for them. Several steps may each have to wait."""
        if size_bytes > self.held_bytes:
            await self._budget.wait(self, size_bytes - self.held_bytes)

    def could_take(self, size_bytes: int) -> bool:
        """Whether `try_take` would succeed. A small amount always could; a no is counted as refused."""
        if size_bytes <= UNCOUNTED_BYTES or self._budget.fits(size_bytes - self.held_bytes):
            return True
        self._budget.refused += 1
        return False

    def try_take(self, size_bytes: int) -> bool:
        """Hold so many bytes if they are few or there is room for them now; a no is counted as refused."""
        if not self.could_take(size_bytes):
            return False
        self.cover(size_bytes)
        return True

    def cover(self, size_bytes: int) -> None:
        """Count bytes that are held already."""
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
