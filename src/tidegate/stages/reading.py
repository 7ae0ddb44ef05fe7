"""Reads the rounds of a call ahead, while something else is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol, Self

from tidegate.types import Batch


class Rounds(Protocol):
    """The rounds of a call, which yield its answer."""

    def __aiter__(self) -> AsyncIterator[Batch]: ...

    async def __anext__(self) -> Batch: ...

    def close(self, error: BaseException | None) -> Coroutine[Any, Any, None] | None:
        """Cut the engine's stream if it still runs, and release the permit."""
        ...


class ReadAhead:
    """Rounds of which one batch may be read ahead."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self._ahead: asyncio.Task[Batch] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        if self._ahead is None:
            return await anext(self._rounds)
        try:
            return await self._ahead
        finally:
            self._ahead = None

    def begin(self) -> asyncio.Task[Batch]:
        """Begin to read the next batch. Returns the task that does, which the caller leaves alone."""
        if self._ahead is None:
            self._ahead = asyncio.get_running_loop().create_task(self._read(), name="read ahead")
        return self._ahead

    async def close(self, error: BaseException | None) -> None:
        """Cut the engine's stream if it still runs, and release the permit."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            # A stream that a task reads cannot be closed.
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
        closing = self._rounds.close(error)
        if closing is not None:
            await closing

    async def _read(self) -> Batch:
        return await anext(self._rounds)
