"""Takes thresholds of rails from texts without fault: the lowest ones that flag few enough of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec
import numpy as np

from tidegate.ops.evals.checking import Checked
from tidegate.ops.evals.result import AtThreshold
from tidegate.ops.evals.statistics import Estimate, Scores, Threshold, allowed, threshold_at, wilson
from tidegate.types import Action

_Unit: TypeAlias = tuple[str, str]
"""A rail, and one of its categories or none: what has a threshold."""


class Setting(msgspec.Struct, frozen=True):
    """The setting of a rail that is its threshold. `now` is its value, None where the rail decides without one.

    `key` is the entry of a map, where the setting is one. `categories` has the thresholds of a map by category; it is None
    for a rail whose categories have no thresholds of their own.
    """

    kind: str
    name: str
    now: float | None
    key: str = ""
    categories: Mapping[str, float] | None = None

    def of(self, category: str) -> Setting | None:
        """Return the setting of one category, or of the whole verdict for none. None where it has no threshold."""
        if self.categories is None:
            return None if category else self
        return Setting(self.kind, self.name, self.categories.get(category), category) if category else None


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

    With `together`, all rails that have thresholds flag at most the share of a target together; else each of them does.
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
    """Return the thresholds of rails and of their categories. `settings` has each rail by its name.

    A rail whose categories have thresholds of their own keeps to a target with all of them.
    """
    texts = [one for one in checked if not one.failed]
    units = {
        (name, category): _scores(texts, name, category)
        for name, setting in settings.items()
        for category in ("", *_categories(name, setting, texts))
    }
    set_by = {
        (name, category): setting.of(category) if (setting := settings[name]) else None
        for name, category in units
    }
    found = {unit: [threshold_at(scores, one) for one in targets] for unit, scores in units.items()}
    for group in _groups(set_by, together=together):
        for at, target in enumerate(targets):
            for unit, threshold in _joint({one: units[one] for one in group}, target).items():
                found[unit][at] = threshold
    return [
        RailThresholds(
            rail=unit[0],
            category=unit[1],
            setting=set_by[unit],
            objects=None if unit[1] else _objects(unit[0], texts),
            at=_applied(scores, found[unit], targets, _least(unit[0], set_by[unit], texts)),
        )
        for unit, scores in units.items()
    ]


def _groups(set_by: Mapping[_Unit, Setting | None], *, together: bool) -> list[list[_Unit]]:
    """Return the thresholds that keep to a target with each other: all that can be set, or those of each rail."""
    known = [unit for unit, setting in set_by.items() if setting is not None]
    if together:
        return [known]
    return [[unit for unit in known if unit[0] == name] for name in dict.fromkeys(name for name, _ in known)]


def _scores(texts: Sequence[Checked], rail: str, category: str) -> Scores:
    said = [one.rails[rail] for one in texts]
    return np.array([one.scores.get(category, 0.0) if category else one.score for one in said], np.float64)


def _categories(rail: str, setting: Setting | None, texts: Sequence[Checked]) -> list[str]:
    """Return the categories that a rail tells apart. One alone is the whole verdict, unless it has its own threshold."""
    known = sorted({name for one in texts for name in one.rails[rail].scores})
    return known if len(known) > 1 or (setting is not None and setting.categories is not None) else []


def _objects(rail: str, texts: Sequence[Checked]) -> Estimate | None:
    return wilson(sum(one.rails[rail].action is not Action.PASS for one in texts), len(texts))


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


def _joint(scores: Mapping[_Unit, Scores], target: float) -> Mapping[_Unit, Threshold]:
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


def _each(scores: Mapping[_Unit, Scores], share: float) -> Mapping[_Unit, Threshold]:
    return {name: threshold_at(some, share) for name, some in scores.items()}
