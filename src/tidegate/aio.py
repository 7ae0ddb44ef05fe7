"""A timer for deadlines that are often moved later. Moving a deadline does not create a new timer of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EARLY_S = 0.005
"""The timer of an event loop may fire up to this many seconds early."""


class Alarm:
    """Calls `ring` at the earliest requested time. The callback decides what is due and sets the next alarm.

    The timer is only ever moved to an earlier time. If a later time is requested, the timer stays as it is and rings too
    early once. This costs less than a timer for every request.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0

    def ring_by(self, when: float) -> None:
        """Ring at `when`, in seconds of the loop's clock, or earlier."""
        if self._timer is not None:
            if self._at <= when:
                return
            self._timer.cancel()
        self._at = when
        self._timer = self._loop.call_at(when, self._on_time)

    def stop(self) -> None:
        """Cancel the timer. `ring_by` may set it again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time(self) -> None:
        self._timer = None
        self._ring()
