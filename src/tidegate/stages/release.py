"""Releases answers: the last part of `attempt`, where output rails check what an engine sends before a client gets it.

A stream passes through a window, which holds back only what a rail may still object to (`rails/window.py`). An answer that is
not streamed, and one of which a rail needs the whole, is checked at its end. A block cuts the engine's stream. Text that is
held when the engine fails never leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol, Self

from tidegate.call import Call, Checks
from tidegate.errors import GatewayError
from tidegate.forms import Form, Frame, form_of
from tidegate.rails.passages import Passage
from tidegate.rails.plan import Plan, Step
from tidegate.rails.review import Review
from tidegate.rails.window import Window
from tidegate.stages.outgoing import Outgoing
from tidegate.stages.railed import Railed, blocked
from tidegate.types import Action, Batch, Finding, Message, Piece, Reply


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
        self._out = Outgoing(call, checks.plan, railed)
        self._again = 0
        self._is_over = False
        self._has_begun = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        """Return the next batch that may leave. Raises Blocked, and what the rounds raise."""
        gate, self._checks.gate = self._checks.gate, None
        first = None if gate is None else await self._race(gate)
        while not self._is_over:
            try:
                batch = await anext(self._rounds) if first is None else first
            except StopAsyncIteration:
                batch = await self._ended()
            else:
                first = None
                batch = await self._out.take(batch)
            if self._out.stopped is not None:
                return await self._stop(self._out.stopped)
            if batch:
                self._has_begun = True
                return batch
        raise StopAsyncIteration
