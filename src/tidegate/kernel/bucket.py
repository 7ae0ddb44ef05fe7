"""Token buckets by the generic cell rate algorithm (GCRA, ITU-T I.371 annex A, the continuous-state form).

The textbook: a bucket holds at most `capacity` tokens and refills at a constant rate; a cost is allowed when there are as
many tokens, which are then taken, and rejected otherwise. GCRA needs neither a timer nor a list of calls. It stores what
is missing from a full bucket, and the time at which that was so.

All arithmetic is in integers, so that a cost that fits exactly is allowed, at any rate and after any number of calls. Time
is in microseconds. What is missing is in tokens times the microseconds of the window: in this unit, a bucket that refills
by `amount` tokens in a window refills by exactly `amount` in a microsecond.
"""

from __future__ import annotations

import msgspec

MINUTE_US = 60_000_000


class Rate(msgspec.Struct, frozen=True):
    """A bucket of `capacity` tokens that refills by `amount` tokens, at least one, in each `window_us` microseconds."""

    capacity: int
    amount: int
    window_us: int = MINUTE_US

    def slower(self, other: Rate) -> bool:
        """Whether this rate refills fewer tokens in the same time."""
        return self.amount * other.window_us < other.amount * self.window_us


class Bucket:
    """One bucket, full at first. Each method takes the present time; a time before the last one counts as the last one."""

    __slots__ = ("_at_us", "_missing", "rate")

    def __init__(self, rate: Rate, now_us: int = 0) -> None:
        self.rate = rate
        self._at_us = now_us
        self._missing = 0

    def allow(self, cost: int, now_us: int) -> bool:
        """Take `cost` tokens if they fit, and return whether they did."""
        return self.take(cost, now_us) is not None

    def take(self, cost: int, now_us: int) -> int | None:
        """Take `cost` tokens if they fit, and return the whole tokens that remain, or None if the cost does not fit.

        A cost above the capacity fits when the bucket is full. It leaves a debt, returned as a negative number, and nothing
        else fits until the bucket has refilled.
        """
        rate, missing = self.rate, self._missing
        passed = now_us - self._at_us
        if passed > 0:  # as in `_refill`, which would cost as much as the rest
            self._at_us = now_us
            refilled = passed * rate.amount
            missing = missing - refilled if missing > refilled else 0
        needed = missing + cost * rate.window_us
        remaining = rate.capacity + -needed // rate.window_us
        if remaining < 0 and missing:
            self._missing = missing
            return None
        self._missing = needed
        return remaining

    def wait_us(self, cost: int, now_us: int) -> int:
        """Return the time until `cost` fits if nothing else is taken; 0 if it fits now."""
        rate, missing = self.rate, self._refill(now_us)
        most_missing = max(0, (rate.capacity - cost) * rate.window_us)
        return max(0, _up(missing - most_missing, rate.amount))

    def settle(self, change: int, now_us: int) -> None:
        """Charge `change` more tokens, also into debt, or give tokens back where it is negative, at most up to capacity."""
        missing, given_back = self._refill(now_us), -change * self.rate.window_us
        self._missing = missing - given_back if missing > given_back else 0

    def standing(self, now_us: int) -> tuple[int, int]:
        """Return the whole tokens that remain, negative in debt, and the time until the bucket is full again."""
        rate, missing = self.rate, self._refill(now_us)
        # Rounded up; written out because `_up` would cost as much as the rest.
        return rate.capacity + -missing // rate.window_us, -(-missing // rate.amount)

    def change_rate(self, rate: Rate, now_us: int) -> None:
        """Use another rate from now on. What is missing stays missing, so the change grants no token.

        The time since the last use may lie before or after the change that an operator made. It counts at the slower rate.
        """
        if rate.slower(self.rate):
            self._convert(rate)
            self._refill(now_us)
        else:
            self._refill(now_us)
            self._convert(rate)

    def _convert(self, rate: Rate) -> None:
        if rate.window_us != self.rate.window_us:
            self._missing = _up(self._missing * rate.window_us, self.rate.window_us)
        self.rate = rate

    def _refill(self, now_us: int) -> int:
        passed = now_us - self._at_us
        if passed > 0:
            self._at_us = now_us
            if self._missing:
                refilled = passed * self.rate.amount
                self._missing = 0 if refilled > self._missing else self._missing - refilled
        return self._missing


def _up(dividend: int, divisor: int) -> int:
    """Divide and round up."""
    return -(-dividend // divisor)
