"""Entered early and left last: whatever happens below is measured and told to the sinks exactly once.

Definitions: TTFT runs from the request's arrival to the first event with content (text, reasoning or a tool call); ITL is the
mean gap between events with content after the first; overhead is the time up to the first byte that was not the engine's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import TracebackType

from tidegate.errors import GatewayError
from tidegate.ports import Clock, Sink
from tidegate.types import Batch, Call


class Account:
    """The stage `account`. Later it also settles the ticket and writes the ledger."""

    def __init__(self, sinks: Sequence[Sink], clock: Clock) -> None:
        self._sinks = sinks
        self._clock = clock

    async def __call__(self, call: Call) -> None:
        """Open the books for a call."""

        def close(
            kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
        ) -> None:
            del trace
            if isinstance(error, GatewayError):
                call.outcome = error.code
            elif kind is not None:
                call.outcome = "internal_error" if issubclass(kind, Exception) else "cancelled"
            now = self._clock()
            for sink in self._sinks:
                sink.finished(call, now)

        call.exit.push(close)

    async def wrap(self, call: Call, pieces: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
        """Watch the answer go by."""
        async for batch in pieces:
            self._note(call, batch)
            yield batch

    def _note(self, call: Call, batch: Batch) -> None:
        events = 0
        for piece in batch:
            answer = piece.answer
            if answer.usage is not None:
                call.usage = answer.read_usage()
            for choice in answer.choices:
                if choice.has_content():
                    events += 1
                    break
        if events:
            call.last_content_at = self._clock()
            call.first_content_at = call.first_content_at or call.last_content_at
            call.content_events += events
