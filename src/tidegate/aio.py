"""A timer for moments that keep moving away, as deadlines do: who waits often pays for one timer, not for each time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EARLY_S = 0.005
"""An event loop's timer may come so much too early."""


class Alarm:
    """Calls `ring` at the earliest moment that was asked for; whoever is rung looks what is due, and asks for the next.

    It is moved only for an earlier moment. A later one finds it set already: it rings too early then, once, and that costs
    less than a timer for every request.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0

    def ring_by(self, when: float) -> None:
        """Ring at `when`, on the loop's clock, or before."""
        if self._timer is not None:
            if self._at <= when:
                return
            self._timer.cancel()
        self._at = when
        self._timer = self._loop.call_at(when, self._on_time)

    def stop(self) -> None:
        """Ring no more, until asked again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time(self) -> None:
        self._timer = None
        self._ring()
