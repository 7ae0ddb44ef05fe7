"""The stage `observe`: it measures every call, refused ones included, and reports each call to the sinks exactly once.

It is entered first and left last. Definitions: TTFT (time to first token) runs from the request's arrival to the first
event with content (text, reasoning or a tool call). ITL (inter-token latency) is the mean gap between events with content
after the first. Overhead is the time up to the first byte without the part that the engine took.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tidegate.call import Call
from tidegate.errors import GatewayError
from tidegate.ports import Clock, Sink
from tidegate.types import Batch, Record


class _Nowhere:
    def finished(self, record: Record) -> None:
        """Drop the record."""


_NOWHERE: Sink = _Nowhere()


class Observe:
    """Reports calls to the sinks. It runs on the head of the request, so the sinks get refused calls too."""

    def __init__(self, sinks: Sequence[Sink], clock: Clock) -> None:
        self._first, *self._others = sinks or (_NOWHERE,)
        self._clock = clock

    def __call__(self, call: Call) -> None:
        """Arrange that the call is reported to the sinks when it ends."""

        def close(error: BaseException | None) -> None:
            if isinstance(error, GatewayError):
                call.outcome = error.code
            elif error is not None:
                call.outcome = "internal_error" if isinstance(error, Exception) else "cancelled"
            record = call.record(self._clock())
            for sink in self._others:
                # Pushed and not called here: when one sink raises, the others still get the record.
                call.exit.push(partial(_tell, sink, record))
            self._first.finished(record)

        call.exit.push(close)

    def note(self, call: Call, batch: Batch) -> None:
        """Note the time of each event with content in a batch that leaves for the client."""
        now = self._clock()
        for piece in batch:
            for choice in piece.answer.choices or ():
                if choice.has_content():
                    call.content_events += 1
                    call.last_content_at = now
                    break
        if not call.first_content_at:
            call.first_content_at = call.last_content_at


def _tell(sink: Sink, record: Record, _: BaseException | None) -> None:
    sink.finished(record)
