"""Computes the figures of a plan from what its rails said of texts."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tidegate.ops.evals.checking import Checked
from tidegate.ops.evals.result import (
    AtShare,
    AtThreshold,
    Curve,
    Decided,
    Figures,
    Histogram,
    RailFigures,
    Took,
)
from tidegate.ops.evals.rows import Row
from tidegate.ops.evals.statistics import (
    Scores,
    Threshold,
    auc,
    recall_at,
    recalls,
    threshold_at,
    wilson,
)
from tidegate.types import Action

BINS = 25
SHARES = [round(10 ** (at / 20 - 3), 6) for at in range(61)]
"""The shares of negatives of a curve: from 0.1 % to all, twenty for each power of ten."""
WARM_UP = 20
"""The times of so many texts do not count: the first ones fill caches and load code."""
PLAN = "whole plan"


class Judged(NamedTuple):
    """One text that no rail has failed on, with its score and what the rails would do."""

    row: Row
    score: float
    action: Action


class Asked(NamedTuple):
    """What is asked of scores: at which shares of flagged negatives, and at which thresholds."""

    shares: Sequence[float]
    thresholds: Sequence[AtThreshold] = ()
    categories: frozenset[str] = frozenset()


def judged(checked: Iterable[Checked], categories: frozenset[str]) -> list[Judged]:
    """Return the texts on which no rail has failed."""
    return [Judged(one.row, one.score(categories), one.action) for one in checked if not one.failed]


def sides(texts: Iterable[Judged]) -> tuple[Scores, Scores]:
    """Return the scores of positives and of negatives."""
    positives, negatives = list[float](), list[float]()
    for one in texts:
        (positives if one.row.positive else negatives).append(one.score)
    return np.array(positives, np.float64), np.array(negatives, np.float64)


class Part(NamedTuple):
    """A part of the texts: those that were judged, and how many failed on either side."""

    name: str
    texts: Sequence[Judged]
    failed: tuple[int, int] = (0, 0)


def parts(checked: Sequence[Checked], asked: Asked, names_of: Callable[[Row], Iterable[str]]) -> list[Part]:
    """Split texts by names, in the order of the names. A text is in the part of each of its names."""
    texts: defaultdict[str, list[Judged]] = defaultdict(list)
    failed: Counter[tuple[str, bool]] = Counter()
    for one in checked:
        for name in names_of(one.row):
            found = texts[name]
            if one.failed:
                failed[name, one.row.positive] += 1
            else:
                found.append(Judged(one.row, one.score(asked.categories), one.action))
    return [Part(name, texts[name], (failed[name, True], failed[name, False])) for name in sorted(texts)]


def figures(part: Part, every: tuple[Scores, Scores], asked: Asked) -> Figures:
    """Return the figures of a part. `every` has the scores of all texts, by side."""
    positives, negatives = sides(part.texts)
    compared = (positives if len(positives) else every[0], negatives if len(negatives) else every[1])
    return Figures(
        name=part.name,
        positives=_decided([one.action for one in part.texts if one.row.positive], part.failed[0]),
        negatives=_decided([one.action for one in part.texts if not one.row.positive], part.failed[1]),
        auc=auc(*compared) if part.texts else None,
        at_shares=[_at_share((positives, negatives), every, share) for share in asked.shares],
        at_thresholds=[applied((positives, negatives), one) for one in asked.thresholds],
    )


def at_shares(scores: tuple[Scores, Scores], shares: Iterable[float]) -> list[AtShare]:
    """Return the recall at each share of flagged negatives."""
    return [_at_share(scores, scores, share) for share in shares]


def applied(scores: tuple[Scores, Scores], at: AtThreshold) -> AtThreshold:
    """Return what a threshold that is known beforehand flags of each side. Without one, nothing can be flagged."""
    limit = math.inf if at.threshold is None else at.threshold
    recall, flagged = (wilson(int((one >= limit).sum()), len(one)) for one in scores)
    return AtThreshold(target=at.target, threshold=at.threshold, recall=recall, flagged=flagged)


def by_rail(checked: Sequence[Checked], rails: Iterable[str], asked: Asked) -> list[RailFigures]:
    """Return how each rail does alone."""
    return [_of_rail(checked, name, asked) for name in rails]


def curve(name: str, scores: tuple[Scores, Scores]) -> Curve | None:
    """Return the curve of some scores. None if one side is missing."""
    if not len(scores[0]) or not len(scores[1]):
        return None
    return Curve(name, SHARES, [round(one, 5) for one in recalls(*scores, SHARES)])


def histogram(scores: tuple[Scores, Scores]) -> Histogram:
    """Return how often scores occur."""
    counts = [np.histogram(one, BINS, (0.0, 1.0))[0] for one in scores]
    return Histogram(
        [round(at / BINS, 4) for at in range(BINS + 1)], *([int(count) for count in one] for one in counts)
    )


def times(checked: Sequence[Checked], rails: Iterable[str]) -> list[Took]:
    """Return how long each rail took, and all together. The first texts do not count if there are enough others."""
    counted = checked[WARM_UP:] if len(checked) >= 2 * WARM_UP else checked
    found = [_took(name, [one.rails[name].took_s for one in counted if name in one.rails]) for name in rails]
    return [*found, _took(PLAN, [one.took_s for one in counted])]


def _at_share(part: tuple[Scores, Scores], every: tuple[Scores, Scores], share: float) -> AtShare:
    """Return what a part's scores say at the threshold of all negatives."""
    positives, negatives = part
    at = threshold_at(every[1], share, every[0]) if len(every[1]) else Threshold(math.inf, None)
    flagged = float((negatives > at.below).mean()) if len(negatives) else 0.0
    recall = recall_at(positives, every[1], share)
    return AtShare(target=share, threshold=at.at, flagged=flagged, recall=recall)


def _decided(actions: Sequence[Action], failed: int) -> Decided:
    count = Counter(actions)
    blocked = sum(count[one] for one in (Action.REGENERATE, Action.REVIEW, Action.BLOCK))
    return Decided(
        texts=len(actions) + failed,
        blocked=blocked,
        changed=count[Action.REDACT] + count[Action.FIX],
        logged=count[Action.LOG],
        passed=count[Action.PASS],
        failed=failed,
        blocked_share=wilson(blocked, len(actions)),
        flagged_share=wilson(len(actions) - count[Action.PASS], len(actions)),
    )


def _of_rail(checked: Sequence[Checked], name: str, asked: Asked) -> RailFigures:
    scores: dict[bool, list[float]] = {True: [], False: []}
    objects: Counter[bool] = Counter()
    errors: Counter[str] = Counter()
    for one in checked:
        said = one.rails.get(name)
        if said is None:
            continue
        if said.error:
            errors[said.error] += 1
            continue
        scores[one.row.positive].append(said.score_of(asked.categories))
        objects[one.row.positive] += said.action is not Action.PASS
    both = np.array(scores[True], np.float64), np.array(scores[False], np.float64)
    return RailFigures(
        rail=name,
        auc=auc(*both),
        at_shares=at_shares(both, asked.shares),
        objects_positives=wilson(objects[True], len(both[0])),
        objects_negatives=wilson(objects[False], len(both[1])),
        errors=dict(errors),
    )


def _took(name: str, samples_s: Sequence[float]) -> Took:
    p50, p95, p99 = np.percentile(samples_s, (50, 95, 99)) * 1000 if samples_s else (0.0, 0.0, 0.0)
    return Took(
        name=name,
        checks=len(samples_s),
        p50_ms=round(float(p50), 4),
        p95_ms=round(float(p95), 4),
        p99_ms=round(float(p99), 4),
    )


def groups(
    checked: Sequence[Checked], every: tuple[Scores, Scores], asked: Asked, fields: Iterable[str]
) -> Mapping[str, Sequence[Figures]]:
    """Return the figures by the values of each field."""
    return {
        field: [
            figures(part, every, asked)
            for part in parts(checked, asked, lambda row, field=field: row.groups.get(field, ()))
        ]
        for field in fields
    }
