"""Axes: the position of a value, the round values of the ticks, and the two ends of the axis."""

from __future__ import annotations

import math

import msgspec


class Scale(msgspec.Struct, frozen=True):
    """Maps values onto 0..1, linearly or by their logarithm. With a logarithm, `low` has to be above 0."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the position of a value. A value outside of the axis gets the position of the nearer end."""
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def ticks(self, about: int) -> list[float]:
        """Return round values within the scale."""
        return _log_ticks(self, about) if self.log else _even_ticks(self, about)


def value_scale(low: float, high: float, *, log: bool) -> Scale:
    """Return a y axis that ends at a round value. It begins at 0, or on a log scale at a round value up to `low`."""
    if log:
        return Scale(_round_log(low, down=True), _round_log(max(high, low * 2), down=False), log=True)
    step = _round_step((high or 1.0) / 4)
    return Scale(0.0, step * math.ceil((high or 1.0) / step - 1e-9))


def load_scale(values: list[float]) -> Scale:
    """Return an x axis for levels of load: from 0 if they are near each other, logarithmic if their range is large."""
    low, high = min(values), max(values)
    if len(values) > 3 and low > 0 and high / low >= 25:
        return Scale(low, high, log=True)
    return Scale(0.0, high * 1.02 if high > 0 else 1.0)


def _round_step(size: float) -> float:
    power = 10.0 ** math.floor(math.log10(size))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= size * 0.999)


def _round_log(value: float, *, down: bool) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    steps = [step * power for step in (1, 2, 5, 10)]
    if down:
        return max(step for step in steps if step <= value * 1.000001)
    return min(step for step in steps if step >= value * 0.999999)


def _even_ticks(scale: Scale, about: int) -> list[float]:
    """Return ticks that are a round step apart. One of them is at the upper end if a round step allows it."""
    extent = scale.high - scale.low
    sizes = [
        _round_step(extent / part) for part in (about, about - 1, about - 2, about + 1, about + 2) if part > 1
    ]
    step = next((size for size in sizes if abs(extent / size - round(extent / size)) < 1e-6), sizes[0])
    first = math.ceil(scale.low / step - 1e-9)
    count = math.floor((scale.high - first * step) / step + 1e-9)
    return [(first + i) * step for i in range(count + 1)]


def _log_ticks(scale: Scale, about: int) -> list[float]:
    decades = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [step * 10.0**decade for decade in decades for step in steps]
        found = [value for value in found if scale.low * 0.999 <= value <= scale.high * 1.001]
        if len(found) <= about + 1:
            return found
    every = math.ceil(len(found) / about)
    return found[::every]
