"""Takes thresholds of rails from texts without fault: the lowest ones that flag few enough of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from tidegate.ops.evals.checking import Checked
from tidegate.ops.evals.result import AtThreshold
from tidegate.ops.evals.statistics import Estimate, Scores, Threshold, allowed, threshold_at, wilson
from tidegate.types import Action


class Setting(msgspec.Struct, frozen=True):
    """The setting of a rail that is its threshold. `now` is its value, None where the rail decides without one."""

    kind: str
    name: str
    now: float | None


class RailThresholds(msgspec.Struct, frozen=True, kw_only=True):
    """The thresholds of one rail, or of one of its categories.

    `objects` is the share of texts to which the rail objects as it is configured; None for a category. `setting` is None
    where the configuration has no threshold for it.
    """

    rail: str
    category: str
    setting: Setting | None
    objects: Estimate | None
    at: Sequence[AtThreshold]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Thresholds from texts without fault.

    With `together`, all rails that have a threshold flag at most the share of a target together; else each of them does.
    """

    profile: str
    surface: str
    files: Sequence[str]
    texts: int
    failed: int
    complete: bool
    together: bool
    rails: Sequence[RailThresholds]


def thresholds(
    checked: Iterable[Checked],
    settings: Mapping[str, Setting | None],
    targets: Sequence[float],
    *,
    together: bool,
) -> list[RailThresholds]:
    """Return the thresholds of rails and of their categories. `settings` has each rail by its name."""
    texts = [one for one in checked if not one.failed]
    scores = {name: np.array([one.rails[name].score for one in texts], np.float64) for name in settings}
    found = {name: [threshold_at(some, target) for target in targets] for name, some in scores.items()}
    if together:
        joint = {name: scores[name] for name, setting in settings.items() if setting is not None}
        for at, target in enumerate(targets):
            for name, threshold in _joint(joint, target).items():
                found[name][at] = threshold
    return [
        one
        for name, setting in settings.items()
        for one in (
            RailThresholds(
                rail=name,
                category="",
                setting=setting,
                objects=wilson(sum(one.rails[name].action is not Action.PASS for one in texts), len(texts)),
                at=_applied(scores[name], found[name], targets, _least(name, setting, texts)),
            ),
            *_categories(name, texts, targets),
        )
    ]


def _categories(rail: str, texts: Sequence[Checked], targets: Sequence[float]) -> Iterator[RailThresholds]:
    """Yield the thresholds of each category that a rail tells apart, if there are several."""
    known = sorted({name for one in texts for name in one.rails[rail].scores})
    for name in known if len(known) > 1 else ():
        scores = np.array([one.rails[rail].scores.get(name, 0.0) for one in texts], np.float64)
        found = [threshold_at(scores, target) for target in targets]
        yield RailThresholds(
            rail=rail, category=name, setting=None, objects=None, at=_applied(scores, found, targets)
        )


def _least(rail: str, setting: Setting | None, texts: Sequence[Checked]) -> float:
    """Return the lowest threshold that the scores tell about.

    A rail that gives no score to what it passes hides everything below its present threshold.
    """
    if setting is None or setting.now is None:
        return 0.0
    said = (one.rails[rail] for one in texts)
    return 0.0 if any(one.score for one in said if one.action is Action.PASS) else setting.now


def _applied(
    scores: Scores, found: Sequence[Threshold], targets: Sequence[float], least: float = 0.0
) -> list[AtThreshold]:
    limits = [None if one.at is None else max(one.at, least) for one in found]
    return [
        AtThreshold(
            target=target,
            threshold=at,
            flagged=wilson(0 if at is None else int((scores >= at).sum()), len(scores)),
        )
        for at, target in zip(limits, targets, strict=True)
    ]


def _joint(scores: Mapping[str, Scores], target: float) -> Mapping[str, Threshold]:
    """Return the lowest thresholds at which all rails together flag at most a share, each as many texts as the others."""
    size = len(next(iter(scores.values()), ()))
    if not size:
        return {}
    low, most = 0, allowed(size, target)
    high = most
    while low < high:
        middle = (low + high + 1) // 2
        found = _each(scores, middle / size)
        flagged = np.any([some > found[name].below for name, some in scores.items()], axis=0)
        low, high = (middle, high) if int(flagged.sum()) <= most else (low, middle - 1)
    return _each(scores, low / size)


def _each(scores: Mapping[str, Scores], share: float) -> Mapping[str, Threshold]:
    return {name: threshold_at(some, share) for name, some in scores.items()}
