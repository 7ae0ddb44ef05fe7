"""Releases answers: the last part of `attempt`, where output rails check what an engine sends before a client gets it.

`rails/outgoing.py` decides what may leave. A block cuts the engine's stream and ends the answer with a refusal. Text that is
held when the engine fails never leaves. With `on_fail: regenerate` the engine is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol, Self

from tidegate.call import Call, Checks
from tidegate.forms import form_of
from tidegate.rails.outgoing import Outgoing
from tidegate.stages.railed import Railed
from tidegate.types import FAILED, Action, Batch, Endpoint, Finding, Message, Messages, Reply


class Rounds(Protocol):
    """The rounds of a call, which yield its answer."""

    def __aiter__(self) -> AsyncIterator[Batch]: ...

    async def __anext__(self) -> Batch: ...

    def close(self, error: BaseException | None) -> Coroutine[Any, Any, None] | None:
        """Cut the engine's stream if it still runs, and release the permit."""
        ...


class Released:
    """The answer of some rounds as far as rails have passed it. It is an iterator of batches."""

    def __init__(self, call: Call, checks: Checks, railed: Railed, begin: Callable[[], Rounds]) -> None:
        """`begin` begins the rounds of the call. It is called again for each answer that has to be made again."""
        self._call = call
        self._checks = checks
        self._railed = railed
        self._begin = begin
        self._rounds = begin()
        self._out = self._outgoing()
        self._messages = call.messages
        self._rounds_made = 0
        self._came_at = self._held_since = 0.0
        self._is_over = self._has_begun = False
        call.exit.push(self._tell)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        """Return the next batch that may leave. Raises Blocked, and what the rounds raise."""
        first = await self._race() if self._checks.gate is not None else None
        while not self._is_over:
            try:
                batch = await anext(self._rounds) if first is None else first
            except StopAsyncIteration:
                self._is_over = True
                batch = await self._out.finish()
            else:
                batch, first = await self._taken(batch), None
            if self._out.stopped is not None:
                batch += await self._stop(self._out.stopped)
            if batch:
                self._note_release()
                return batch
        raise StopAsyncIteration

    async def _taken(self, batch: Batch) -> Batch:
        self._came_at = self._came_at or self._railed.clock()
        return await self._out.take(batch)

    # -- input rails that race the engine --------------------------------------------------------------------------------

    async def _race(self) -> Batch | None:
        """Wait for the rails that check the request, while the engine works. Returns the first batch, or the refusal."""
        gate, self._checks.gate = self._checks.gate, None
        assert gate is not None, "the caller has looked"
        first = self._call.exit.task(self._next(), name=f"race {self._call.id}")
        await asyncio.wait([gate, first], return_when=asyncio.FIRST_COMPLETED)
        if not gate.done() and first.exception() is None:
            await asyncio.wait([gate])
        ...
