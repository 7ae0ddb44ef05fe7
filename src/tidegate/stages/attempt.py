"""The engine's turn: one call to one engine. Checks on the answer, retries and fallbacks will wrap around it here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Self

from tidegate.errors import DeadlineExceeded, UpstreamError
from tidegate.ports import Clock
from tidegate.types import Batch, Call, Reply


class Attempt:
    """The stage `attempt`: always answers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def __call__(self, call: Call) -> Reply:
        """Ask the engine and wait for the first batch, so that an early failure is still an HTTP status."""
        deployment = call.deployment
        assert deployment is not None, "route comes before attempt"
        call.sent_at = self._clock()
        if call.sent_at >= call.deadline:
            raise DeadlineExceeded("The deadline passed before the engine was asked")
        pieces = deployment.engine.stream(call, call.deadline)
        call.exit.push(lambda _: pieces.aclose())
        try:
            first = await anext(pieces)
        except StopAsyncIteration:
            raise UpstreamError("the engine gave no answer") from None
        call.first_byte_at = self._clock()
        return Reply(_Resumed(first, pieces))


class _Resumed:
    """The batch in hand, then the others."""

    __slots__ = ("_first", "_others")

    def __init__(self, first: Batch, others: AsyncIterator[Batch]) -> None:
        self._first: Batch | None = first
        self._others = others

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._others)
