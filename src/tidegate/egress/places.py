"""How many exchanges an engine gets at once, and the line of those that wait: first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque

from tidegate.errors import DeadlineExceeded


class Places:
    """A number of places. An exchange holds one place while it holds a connection, and returns both together."""

    __slots__ = ("_free", "_line")

    def __init__(self, number: int) -> None:
        self._free = number
        self._line: deque[asyncio.Future[None]] = deque()

    def try_take(self) -> bool:
        """Take a place if one is free. While others wait, none is free: a returned place goes to the first in line."""
        if self._free:
            self._free -= 1
            return True
        return False

    async def take(self, until: float) -> None:
        """Wait for a place. `until` is on the loop's clock. Raises DeadlineExceeded."""
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
                self.give_back()  # the place came at the same moment as the end of the wait

    def give_back(self) -> None:
        """Return a place. It goes to the first in line."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
