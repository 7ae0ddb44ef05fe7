"""Every source of positives against every source of negatives: how a plan does on sources that had no part in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tidegate.ops.evals.figures import Judged, applied, at_shares, sides
from tidegate.ops.evals.result import AtThreshold, Cell, Macro, Pairs
from tidegate.ops.evals.statistics import Scores, auc, threshold_at


def pairs(texts: Sequence[Judged], calibration: Sequence[Judged], shares: Sequence[float]) -> Pairs:
    """Return the matrix of sources.

    The thresholds `apart` are those of the negatives in `calibration` that have another source than the cell's; without
    calibration texts, of the negatives of the other sources.
    """
    positives, negatives = _by_source(texts)
    others = _by_source(calibration)[1] or negatives
    thresholds = {name: _apart(others, name, shares) for name in negatives}
    cells = [
        Cell(
            positives=source,
            negatives=name,
            auc=auc(scores, against),
            at_shares=at_shares((scores, against), shares),
            apart=[applied((scores, against), one) for one in thresholds[name]],
        )
        for source, scores in positives.items()
        for name, against in negatives.items()
    ]
    areas = [cell.auc.value for cell in cells if cell.auc is not None]
    return Pairs(
        cells=cells,
        auc=_mean(areas),
        auc_least=min(areas, default=None),
        macro=[_macro(cells, at, share) for at, share in enumerate(shares)],
    )


def calibrated(negatives: Scores, shares: Iterable[float]) -> list[AtThreshold]:
    """Return the thresholds at which at most these shares of the negatives are flagged."""
    return [AtThreshold(target=share, threshold=threshold_at(negatives, share).at) for share in shares]


def _by_source(texts: Iterable[Judged]) -> tuple[Mapping[str, Scores], Mapping[str, Scores]]:
    by_source: dict[str, list[Judged]] = {}
    for one in texts:
        by_source.setdefault(one.row.source, []).append(one)
    split = {name: sides(by_source[name]) for name in sorted(by_source)}
    return (
        {name: one[0] for name, one in split.items() if len(one[0])},
        {name: one[1] for name, one in split.items() if len(one[1])},
    )


def _apart(negatives: Mapping[str, Scores], name: str, shares: Sequence[float]) -> list[AtThreshold]:
    others = [scores for source, scores in negatives.items() if source != name]
    return calibrated(np.concatenate(others), shares) if others else []


def _macro(cells: Sequence[Cell], at: int, share: float) -> Macro:
    own = [one.value for cell in cells if (one := cell.at_shares[at].recall) is not None]
    apart = [cell.apart[at] for cell in cells if cell.apart]
    return Macro(
        target=share,
        recall=_mean(own),
        recall_least=min(own, default=None),
        apart_recall=_mean([one.recall.value for one in apart if one.recall is not None]),
        apart_flagged=_mean([one.flagged.value for one in apart if one.flagged is not None]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
