"""Checks that nobody waits for any more: their time is up, or another rail has blocked the text, or the call has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)
GRACE_S = 1.0
"""How long a check that was cancelled may go on before it is told of, in seconds."""


class Abandoned:
    """Cancelled checks, kept until they end: the event loop itself holds tasks only weakly.

    A rail may do anything with its cancellation, even ignore it for ever, so no call waits for its end.
    """

    def __init__(self, count: Callable[[str], None] = lambda _: None) -> None:
        """`count` is called with the name of a rail for each check that ignores its cancellation."""
        self._count = count
        self._timers: dict[asyncio.Task[Any], asyncio.TimerHandle] = {}

    def leave(self, check: asyncio.Task[Any], rail: str) -> None:
        """Cancel a check of the rail with this name, and do not wait for its end."""
        check.cancel()
        self._timers[check] = check.get_loop().call_later(GRACE_S, self._goes_on, rail)
        check.add_done_callback(self._ended)

    def _goes_on(self, rail: str) -> None:
        self._count(rail)
        log.error(
            "a check of the rail '%s' still runs %g s after it was cancelled: let CancelledError pass",
            rail,
            GRACE_S,
        )

    def _ended(self, check: asyncio.Task[Any]) -> None:
        self._timers.pop(check).cancel()
        if not check.cancelled():
            # An exception that nobody has looked at is logged with its message, which may quote the text.
            check.exception()
