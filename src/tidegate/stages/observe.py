"""Entered first and left last: whatever becomes of a call is measured and told to the sinks exactly once.

Definitions: TTFT runs from the request's arrival to the first event with content (text, reasoning or a tool call); ITL is
the mean gap between events with content after the first; overhead is the time up to the first byte that was not the
engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tidegate.call import Call
from tidegate.errors import GatewayError
from tidegate.ports import Clock, Sink
from tidegate.types import Batch, Record

CLIENT_LEFT = 499
"""What the books write as the status of a call whose client has left, as nginx does. No client sees it."""


class _Nowhere:
    def finished(self, record: Record) -> None:
        """Told to nobody."""


_NOWHERE: Sink = _Nowhere()


class Observe:
    """The stage `observe`, on the head of a request: refused calls are told to the sinks too."""

    def __init__(self, sinks: Sequence[Sink], clock: Clock) -> None:
        self._first, *self._others = sinks or (_NOWHERE,)
        self._clock = clock

    def __call__(self, call: Call) -> None:
        """Open the books for a call."""

        def close(error: BaseException | None) -> None:
            if isinstance(error, GatewayError):
                call.outcome, call.status = error.code, error.status
            elif isinstance(error, Exception):
                call.outcome, call.status = "internal_error", 500
            elif error is not None:
                call.outcome, call.status = "cancelled", CLIENT_LEFT
            record = call.record(self._clock())
            for sink in self._others:
                # Pushed and not called: one sink that fails does not silence the others.
                call.exit.push(partial(_tell, sink, record))
            self._first.finished(record)

        call.exit.push(close)

    def note(self, call: Call, batch: Batch) -> None:
        """Times of content, as the client sees it, of one batch that leaves."""
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
