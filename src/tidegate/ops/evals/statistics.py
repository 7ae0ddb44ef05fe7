"""The statistics of scores: pure functions of numbers, each with an interval where it is an estimate.

A text counts as flagged if its score is at least the threshold. Intervals are those of 95 %.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Z = 1.959963984540054
"""The quantile of the normal distribution for an interval of 95 %."""
DRAWS = 2000
_PAIRED_DRAWS = 1000
_DIGITS = 4
"""The fewest digits behind the point of a threshold, so that people can copy it."""
_ENDS = (2.5, 97.5)


class Estimate(msgspec.Struct, frozen=True):
    """A figure with its interval of 95 %."""

    value: float
    low: float
    high: float


class Difference(msgspec.Struct, frozen=True):
    """The second figure minus the first one, with its interval. `p` is the probability of a larger one by chance."""

    value: float
    low: float
    high: float
    p: float


class Threshold(NamedTuple):
    """Where scores are cut. Exactly the scores above `below` are flagged; `at` is a number between, for configurations.

    `at` is None where no threshold up to 1 is high enough: too many texts without fault have the highest score.
    """

    below: float
    at: float | None


def wilson(hits: int, of: int) -> Estimate | None:
    """Return a share with the score interval of Wilson (1927). None if there is nothing to count."""
    if not of:
        return None
    share, square = hits / of, Z * Z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = Z / (1 + square / of) * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    return _around(share, middle - half, middle + half)


def auc(positives: Scores, negatives: Scores) -> Estimate | None:
    """Return how often a positive scores higher than a negative, with ties counted half. None if either is missing.

    The variance is that of DeLong, DeLong and Clarke-Pearson (1988), on the scale of log odds. Where nothing overlaps, that
    variance is 0, and the interval is Wilson's for the smaller side.
    """
    if not len(positives) or not len(negatives):
        return None
    of_positives, of_negatives = _placements(positives, negatives)
    area = float(of_positives.mean())
    spread = math.sqrt(_variance(of_positives) + _variance(of_negatives))
    if not 0 < area < 1 or not spread:
        fewer = min(len(positives), len(negatives))
        bounds = wilson(round(area * fewer), fewer)
        assert bounds is not None
        return _around(area, bounds.low, bounds.high)
    odds, half = math.log(area / (1 - area)), Z * spread / (area * (1 - area))
    return _around(area, _share_of(odds - half), _share_of(odds + half))


def auc_difference(first: tuple[Scores, Scores], second: tuple[Scores, Scores]) -> Difference | None:
    """Return the difference of two areas over the same texts, by DeLong's covariance. Each has positives and negatives."""
    if not len(first[0]) or not len(first[1]):
        return None
    ones, others = _placements(*first), _placements(*second)
    by_text = [other - one for one, other in zip(ones, others, strict=True)]
    value = float(by_text[0].mean())
    spread = math.sqrt(sum(map(_variance, by_text)))
    if not spread:
        return Difference(value, value, value, 1.0 if not value else 0.0)
    chance = math.erfc(abs(value) / spread / math.sqrt(2))
    return Difference(value, value - Z * spread, value + Z * spread, chance)


def allowed(size: int, target: float) -> int:
    """Return the largest count that is at most the share `target` of a size, whatever the rounding of floats."""
    count = min(math.floor(size * target), size)
    return count + 1 if count < size and (count + 1) / size <= target else count


def threshold_at(negatives: Scores, target: float, positives: Scores | None = None) -> Threshold:
    """Return the lowest threshold at which at most the share `target` of the negatives is flagged.

    Negatives with equal scores are flagged together or not at all, so the share may be smaller than allowed. `positives`
    are scores that `at` may not pass by.
    """
    ordered = np.sort(negatives)
    most = allowed(len(ordered), target)
    if most >= len(ordered):
        return Threshold(-math.inf, 0.0)
    below = float(ordered[len(ordered) - 1 - most])
    every = ordered if positives is None else np.concatenate((ordered, positives))
    above = every[every > below]
    return Threshold(below, _between(below, float(above.min()) if len(above) else math.inf))


def recall_at(positives: Scores, negatives: Scores, target: float, *, seed: int = 0) -> Estimate | None:
    """Return the share of positives flagged where at most `target` of the negatives are. None if either is missing.

    The interval covers both samples: that of negatives, which moves the threshold, and that of positives. The threshold is
    drawn from its bootstrap distribution, which is known exactly (the order statistics of uniform numbers are beta
    distributed), and the share then from Jeffreys' distribution for binomial shares.
    """
    if not len(positives) or not len(negatives):
        return None
    draw = np.random.default_rng(seed)
    count, size = len(positives), len(negatives)
    falling, rising = np.sort(negatives)[::-1], np.sort(positives)
    most = allowed(size, target)
    if most >= size:
        return Estimate(1.0, 1.0, 1.0)
    value = _recall(positives, negatives, most)
    ranks = (draw.beta(most + 1, size - most, DRAWS) * size).astype(np.int64).clip(0, size - 1)
    hits = count - np.searchsorted(rising, falling[ranks], "right")
    return _around(value, *_middle(draw.beta(hits + 0.5, count - hits + 0.5)))


def recall_difference(
    first: tuple[Scores, Scores], second: tuple[Scores, Scores], target: float, *, seed: int = 0
) -> Difference | None:
    """Return the difference of two recalls at `target` over the same texts, by a bootstrap that draws texts in pairs."""
    (positives, negatives), size = first, len(first[1])
    if not len(positives) or not size:
        return None
    most = allowed(size, target)
    value = _recall(*second, most) - _recall(*first, most)
    draw = np.random.default_rng(seed)
    found = np.empty(_PAIRED_DRAWS)
    for at in range(_PAIRED_DRAWS):
        some, others = draw.integers(0, len(positives), len(positives)), draw.integers(0, size, size)
        found[at] = _recall(second[0][some], second[1][others], most) - _recall(
            positives[some], negatives[others], most
        )
    low, high = _middle(found)
    beyond = min(int((found <= 0).sum()), int((found >= 0).sum()))
    return Difference(
        value, min(low, value), max(high, value), min(1.0, 2 * (beyond + 1) / (_PAIRED_DRAWS + 1))
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the probability of so uneven a pair of counts by chance: the exact test of McNemar (1947), two-sided."""
    of, fewer = only_first + only_second, min(only_first, only_second)
    if not of:
        return 1.0
    whole = math.lgamma(of + 1) - of * math.log(2)
    tail = math.fsum(
        math.exp(whole - math.lgamma(hits + 1) - math.lgamma(of - hits + 1)) for hits in range(fewer + 1)
    )
    return min(1.0, 2 * tail)


def recalls(positives: Scores, negatives: Scores, shares: list[float]) -> list[float]:
    """Return the recall at each share of flagged negatives: the curve of receiver operating characteristics (ROC)."""
    return [_recall(positives, negatives, allowed(len(negatives), share)) for share in shares]


def _middle(drawn: Scores) -> tuple[float, float]:
    """Return the ends of the interval that has 95 % of what was drawn."""
    ends: Scores = np.percentile(drawn, _ENDS)
    return float(ends[0]), float(ends[1])


def _recall(positives: Scores, negatives: Scores, most: int) -> float:
    if most >= len(negatives):
        return 1.0
    last = len(negatives) - 1 - most
    return float((positives > np.partition(negatives, last)[last]).mean())


def _between(below: float, above: float) -> float | None:
    """Return the number with the fewest digits above `below`, but not above `above`. None if it would be above 1."""
    if below >= 1:
        return None
    for digits in range(_DIGITS, 16):
        rounded = round(math.floor(below * 10**digits) / 10**digits + 10**-digits, digits)
        if below < rounded <= min(above, 1.0):
            return rounded
    return math.nextafter(below, math.inf)


def _placements(positives: Scores, negatives: Scores) -> tuple[Scores, Scores]:
    """Return the share of the other side that each positive beats, and that beats each negative; ties count half."""
    rising, others = np.sort(negatives), np.sort(positives)
    lower, same_or_lower = (np.searchsorted(rising, positives, side) for side in ("left", "right"))
    of_positives = (lower + same_or_lower) / (2 * len(rising))
    lower, same_or_lower = (np.searchsorted(others, negatives, side) for side in ("left", "right"))
    return of_positives, 1 - (lower + same_or_lower) / (2 * len(others))


def _variance(placements: Scores) -> float:
    """Return the variance of the mean of some placements."""
    return float(placements.var(ddof=1)) / len(placements) if len(placements) > 1 else 0.0


def _share_of(odds: float) -> float:
    return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0


def _around(value: float, low: float, high: float) -> Estimate:
    """Return an estimate whose interval is within 0 and 1 and contains its value."""
    return Estimate(value, min(max(low, 0.0), value), max(min(high, 1.0), value))
