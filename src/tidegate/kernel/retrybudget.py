"""A budget of retries: retries may add a part of the requests to the load, and not more. Pure.

Without a budget, an engine that fails gets several times its load, just when it can bear least (Beyer et al., Site
Reliability Engineering, 2016, chapter 21).
"""

from __future__ import annotations

SHARE = 0.1
"""Each request allows so many retries."""
FIRST = 3.0
"""So many retries are allowed before any request."""
MOST = 100.0
"""So many retries are saved up at the most, so that a long quiet time does not allow a storm."""


class RetryBudget:
    """The retries that are left. In total there are never more than `FIRST` and a tenth of the requests."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = FIRST

    def requested(self) -> None:
        """Count a request that is not a retry."""
        if self.left < MOST:
            self.left += SHARE

    def take(self) -> bool:
        """Take one retry. Return whether there was one left."""
        if not self.has_left:
            return False
        self.left -= 1
        return True

    @property
    def has_left(self) -> bool:
        """Whether there is a retry left."""
        return self.left >= 1
