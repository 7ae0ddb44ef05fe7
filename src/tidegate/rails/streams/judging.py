"""The passages of one stream that rails judge while more of it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from tidegate.rails.review import Review
from tidegate.rails.streams.passages import Passage

MOST_AT_ONCE = 4
"""How many reviews of one stream run at the same time. No more of the stream is read meanwhile, so memory is bounded."""

Begin = Callable[[], Coroutine[Any, Any, Review]]
"""A function that begins a review."""


class Judging:
    """Reviews that run side by side and are taken in the order in which they were added."""

    def __init__(self) -> None:
        self._running: list[tuple[Sequence[Passage], asyncio.Task[Review]]] = []
        self._waiting: list[tuple[Sequence[Passage], Begin]] = []

    @property
    def first(self) -> asyncio.Task[Review] | None:
        """The review that is taken next, if there is any."""
        return self._running[0][1] if self._running else None

    @property
    def is_full(self) -> bool:
        """Whether another review would have to wait."""
        return len(self._running) >= MOST_AT_ONCE

    def add(self, passages: Sequence[Passage], begin: Begin) -> None:
        """Add the review of some passages."""
        self._waiting.append((passages, begin))
        self._start()

    async def take(self) -> tuple[Sequence[Passage], Review]:
        """Wait for the end of the first review. Returns it with its passages, and forgets both."""
        passages, task = self._running[0]
        review = await task
        del self._running[0]
        self._start()
        return passages, review

    def close(self, error: BaseException | None = None) -> Awaitable[None] | None:
        """Cancel all reviews. Their passages never leave."""
        del error
        tasks = [task for _, task in self._running]
        self._running.clear()
        self._waiting.clear()
        return _cancelled(tasks) if tasks else None

    def _start(self) -> None:
        while self._waiting and not self.is_full:
            passages, begin = self._waiting.pop(0)
            task = asyncio.get_running_loop().create_task(begin(), name="passage")
            self._running.append((passages, task))


async def _cancelled(tasks: Sequence[asyncio.Task[Review]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
