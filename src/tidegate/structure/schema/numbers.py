"""Which numbers the beginning of a number in JSON can still become.

`12` can become 12.5, 120 and also 1.2, as `12e-1`: an exponent moves the value by any power of ten. So a beginning fixes
the first digits of a value, its sign, and nothing else until its exponent begins.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fractions import Fraction

import msgspec

MOST_CHARS = 400
"""The characters of the longest number. JSON has no such limit, but no value that a client can use needs more."""
BEGINNING = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.(?:[0-9]+(?:[eE](?:[+-]?[0-9]*))?)?|[eE][+-]?[0-9]*)?)?")
WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_EXACT_DIGITS = 15
"""A decimal with more digits may be another value once it is a double, so nothing is said of it before it ends."""
_GREATEST_EXPONENT = 330


class Range(msgspec.Struct, frozen=True):
    """The numbers from `low` to `high` that are multiples of `step`; None where there is no limit.

    `above` and `below` say that `low` and `high` themselves are left out.
    """

    low: Fraction | None = None
    high: Fraction | None = None
    step: Fraction | None = None
    above: bool = False
    below: bool = False

    def has(self, low: Fraction, high: Fraction | None, *, open_high: bool) -> bool:
        """Whether a number of the range is in the interval from `low` up to `high`, without `high` if `open_high`."""
        if self.low is not None and self.low >= low:
            low, open_low = self.low, self.above
        else:
            open_low = False
        if self.high is not None and (
            high is None or self.high < high or (self.high == high and not open_high)
        ):
            high, open_high = self.high, self.below
        if high is None:
            return True
        if self.step is None:
            return low < high or (low == high and not open_low and not open_high)
        first = math.ceil(low / self.step) * self.step
        if open_low and first == low:
            first += self.step
        return first < high or (first == high and not open_high)

    def mirrored(self) -> Range:
        """Return the range of the negatives."""
        low = None if self.high is None else -self.high
        high = None if self.low is None else -self.low
        return Range(low, high, self.step, self.below, self.above)


def is_empty(numbers: Range) -> bool:
    """Whether no number is in the range."""
    if numbers.low is not None:
        return not numbers.has(numbers.low, None, open_high=False)
    return numbers.high is not None and not numbers.mirrored().has(-numbers.high, None, open_high=False)


def reaches(beginning: str, numbers: Range) -> bool:
    """Whether a beginning of a number can become a number of the range."""
    if numbers.low is None and numbers.high is None and numbers.step is None:
        return True
    if beginning.startswith("-"):
        beginning, numbers = beginning[1:], numbers.mirrored()
    mantissa, marked, exponent = beginning.lower().partition("e")
    digits = mantissa.replace(".", "")
    if len(digits) > _EXACT_DIGITS:
        return True
    shift = len(mantissa) - mantissa.index(".") - 1 if "." in mantissa else 0
    unit = Fraction(1, 10**shift)
    value = int(digits or "0") * unit
    if value == 0:
        return numbers.has(Fraction(0), Fraction(0) if marked else None, open_high=False)
    if not marked:
        return any(
            numbers.has(value * _ten(power), (value + unit) * _ten(power), open_high=True)
            for power in _shifts(value, numbers)
        )
    fixed = (value * _ten(power) for power in _shifts(value, numbers) if _becomes(exponent, power))
    return any(numbers.has(one, one, open_high=False) for one in fixed)


def _shifts(value: Fraction, numbers: Range) -> Iterator[int]:
    """Yield the powers of ten that can bring a value between the ends of the range, the likeliest first."""
    if numbers.high is not None and numbers.high <= 0:
        return
    high = _GREATEST_EXPONENT if numbers.high is None else _power(numbers.high, value)
    floor = numbers.low if numbers.low is not None and numbers.low > 0 else numbers.step
    low = -_GREATEST_EXPONENT if floor is None else _power(floor, value) - 1
    yield from range(high, low - 1, -1)
    yield high + 1


def _power(bound: Fraction, value: Fraction) -> int:
    """Return the power of ten between two positive numbers, exact up to the rounding of a logarithm."""
    return math.floor(_log(bound) - _log(value) + 1e-9)


def _becomes(exponent: str, power: int) -> bool:
    """Whether the beginning of an exponent can become this power. Zeros may come before its digits."""
    if not exponent:
        return True
    if power and (power < 0) != exponent.startswith("-"):
        return False
    digits = exponent.lstrip("+-").lstrip("0")
    return str(abs(power)).startswith(digits)


def _log(value: Fraction) -> float:
    return math.log10(value.numerator) - math.log10(value.denominator)


def _ten(power: int) -> Fraction:
    return Fraction(10**power) if power >= 0 else Fraction(1, 10**-power)
