"""Limits the number of exchanges that an engine gets at once. Further exchanges wait in line, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque

from tidegate.errors import DeadlineExceeded


class Places:
    """A fixed number of places. An exchange holds one place as long as it holds a connection."""

    __slots__ = ("_free", "_line")

    def __init__(self, number: int) -> None:
        self._free = number
        self._line: deque[asyncio.Future[None]] = deque()

    def try_take(self) -> bool:
        """Take a place if one is free, and return whether it was.

        A returned place goes straight to the first exchange in line, so no place is free while exchanges wait.
        """
        if self._free:
            self._free -= 1
            return True
        return False

    async def take(self, until: float) -> None:
        """Take a place as soon as one is free, at most until `until` on the loop's clock. Raises DeadlineExceeded."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        taken = False
        try:
            async with asyncio.timeout_at(until):
                await turn
            taken = True
        except TimeoutError as error:
            raise DeadlineExceeded(
                "the deadline passed while waiting for a connection to the engine"
            ) from error
        finally:
            if not taken and turn.done() and not turn.cancelled():
                self.give_back()  # the wait was cut short in the same moment as the place was assigned

    def give_back(self) -> None:
        """Return a place. The first exchange in line gets it."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
