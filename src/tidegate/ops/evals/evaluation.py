"""Puts the figures together: of one plan, and of two plans side by side."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from tidegate.ops.evals import figures as of
from tidegate.ops.evals.checking import Checked
from tidegate.ops.evals.figures import Asked, Judged, Part
from tidegate.ops.evals.pairs import calibrated, pairs
from tidegate.ops.evals.result import Comparison, Curve, Disagreement, PlanResult
from tidegate.ops.evals.statistics import Scores, auc_difference, mcnemar, recall_difference
from tidegate.types import Action

ALL = "all"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan said of the texts. `calibration` are texts without fault that thresholds are taken from."""

    profile: str
    config: str
    rails: Sequence[str]
    checked: Sequence[Checked]
    complete: bool = True
    calibration: Sequence[Checked] = ()


def plan_result(run: Run, asked: Asked, *, by: Sequence[str] = (), matrix: bool = False) -> PlanResult:
    """Return the figures of a plan. `by` are fields that split them, and `matrix` asks for every pair of sources."""
    checked = run.checked
    texts = of.judged(checked, asked.categories)
    every = of.sides(texts)
    failed = tuple(sum(one.failed and one.row.positive is side for one in checked) for side in (True, False))
    calibration = of.judged(run.calibration, asked.categories)
    if calibration:
        known = calibrated(of.sides(calibration)[1], asked.shares)
        asked = asked._replace(thresholds=[*asked.thresholds, *known])
    took_s = sum(one.took_s for one in checked)
    return PlanResult(
        profile=run.profile,
        config=run.config,
        rails=run.rails,
        checked=len(checked),
        complete=run.complete,
        all=of.figures(Part(ALL, texts, (failed[0], failed[1])), every, asked),
        sources=[
            of.figures(part, every, asked) for part in of.parts(checked, asked, lambda row: (row.source,))
        ],
        groups=of.groups(checked, every, asked, by),
        by_rail=of.by_rail(checked, run.rails, asked),
        pairs=pairs(texts, calibration, asked.shares) if matrix else None,
        curves=_curves(texts, every),
        histogram=of.histogram(every),
        times=of.times(checked, run.rails),
        texts_per_s=round(len(checked) / took_s, 2) if took_s else 0.0,
    )


def _curves(texts: Sequence[Judged], every: tuple[Scores, Scores]) -> list[Curve]:
    """Return the curve of all texts, and those of each source's positives against all negatives."""
    sources = sorted({one.row.source for one in texts if one.row.positive})
    found = [of.curve(ALL, every)]
    if len(sources) > 1:
        found += [
            of.curve(source, (of.sides(one for one in texts if one.row.source == source)[0], every[1]))
            for source in sources
        ]
    return [one for one in found if one is not None]


def comparison(first: Run, second: Run, asked: Asked) -> Comparison:
    """Compare two plans over the texts on which no rail of either has failed."""
    others = {one.row.at: one for one in second.checked if not one.failed}
    both = [(one, others[one.row.at]) for one in first.checked if not one.failed and one.row.at in others]
    ones, twos = (_sides([pair[at] for pair in both], asked.categories) for at in (0, 1))
    return Comparison(
        texts=len(both),
        auc=auc_difference(ones, twos),
        recall={f"{share:g}": recall_difference(ones, twos, share) for share in asked.shares},
        blocked_positives=_disagreement([pair for pair in both if pair[0].row.positive]),
        blocked_negatives=_disagreement([pair for pair in both if not pair[0].row.positive]),
    )


def _sides(checked: Sequence[Checked], categories: frozenset[str]) -> tuple[Scores, Scores]:
    positives, negatives = (
        np.array([one.score(categories) for one in checked if one.row.positive is side], np.float64)
        for side in (True, False)
    )
    return positives, negatives


def _disagreement(both: Sequence[tuple[Checked, Checked]]) -> Disagreement:
    blocked = [tuple(one.action >= Action.REGENERATE for one in pair) for pair in both]
    only_first, only_second = blocked.count((True, False)), blocked.count((False, True))
    return Disagreement(
        only_first=only_first,
        only_second=only_second,
        both=blocked.count((True, True)),
        neither=blocked.count((False, False)),
        p=mcnemar(only_first, only_second),
    )
