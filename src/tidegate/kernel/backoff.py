"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds between restarts.

    The first is at once, then `base_s` doubled each time up to `cap_s`, less up to half of it at random. A server that
    lived for `reset_after_s` counts as well again.
    """

    base_s: float = 0.25
    cap_s: float = 10.0
    reset_after_s: float = 60.0

    def delay(self, failures: int) -> float:
        """The pause before the restart that follows the `failures`-th death in a row."""
        if failures <= 1:
            return 0.0
        longest = min(self.cap_s, self.base_s * 2.0 ** min(failures - 2, 30))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  (spreads load; guards nothing)
