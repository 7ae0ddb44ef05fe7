"""How many calls an engine gets at once. Those over the limit wait in line, first come, first served, within bounds."""

from __future__ import annotations

import asyncio
from collections import deque

from tidegate.errors import DeadlineExceeded, Overloaded

MAX_WAITING = 1024


class Slots:
    """The places of one engine. `limit` None means that the engine bounds itself."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.in_flight = 0
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Calls in line."""
        return len(self._line)

    async def take(self, patience_s: float) -> None:
        """Take a slot, waiting at most `patience_s` seconds. Raises Overloaded at a full line, DeadlineExceeded."""
        if self.limit is None or (self.in_flight < self.limit and not self._line):
            self.in_flight += 1
            return
        if len(self._line) >= MAX_WAITING:
            raise Overloaded("the engine is busy and its line is full", retry_after_s=5)
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        got_it = False
        try:
            async with asyncio.timeout(patience_s):
                await turn
            got_it = True
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed while waiting for the engine") from error
        finally:
            if not got_it:
                self._step_out(turn)

    def give_back(self, error: BaseException | None = None) -> None:
        """Return a slot; the next in line gets it, however the call ended."""
        del error
        self.in_flight -= 1
        while self._line and (self.limit is None or self.in_flight < self.limit):
            turn = self._line.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)

    def _step_out(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            # The slot came in the same moment as the end of patience.
            self.give_back()
        elif turn in self._line:
            self._line.remove(turn)
