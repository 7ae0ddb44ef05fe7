"""The delay before a failed process is restarted: exponential backoff with jitter."""

from __future__ import annotations

import random

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Delays between restarts, in seconds.

    The first restart comes without a delay. The next delays start at `base_s` and double up to `cap_s`; each is then
    shortened at random by up to half. A server that has run for `reset_after_s` counts as healthy again.
    """

    base_s: float = 0.25
    cap_s: float = 10.0
    reset_after_s: float = 60.0

    def delay(self, failures: int) -> float:
        """Return the delay in seconds before the restart after the `failures`-th failure in a row."""
        if failures <= 1:
            return 0.0
        longest = min(self.cap_s, self.base_s * 2.0 ** min(failures - 2, 30))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  (spreads load; has no security purpose)
