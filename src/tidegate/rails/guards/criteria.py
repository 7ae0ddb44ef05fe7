"""Guards that answer yes or no to one criterion at a time. All criteria of a rail are asked at once."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tidegate.errors import GatewayError
from tidegate.rails.asked.asking import NoAnswer, known
from tidegate.rails.asked.conversation import Turn
from tidegate.rails.asked.hazards import HAZARDS
from tidegate.rails.guards.model import GuardConfig, GuardModel, Judgement
from tidegate.types import Scene

LIKELY = 0.5
"""The probability of `yes` from which a criterion is met, where no threshold is configured."""
OWN = "policy"
"""The category of criteria that the operator has written."""


class Criterion(NamedTuple):
    """What is asked: the `title` that the model or the operator gives it, the words, and the categories that it covers."""

    title: str
    what: str
    covers: tuple[str, ...]


class Rating(NamedTuple):
    """What a model says of a criterion: whether it is met, and how probable that is, if the engine gives probabilities."""

    met: bool
    score: float | None


class CriteriaGuard(GuardModel):
    """A guard model that rates texts by criteria. A subclass says how it asks for one, and when it makes sense to ask."""

    def __init__(self, config: GuardConfig, criteria: Iterable[Criterion]) -> None:
        super().__init__(config, {one.name: one.name for one in HAZARDS})
        self._chosen = config.categories or ()
        # The categories have chosen the criteria, so all that is asked counts.
        self._counted: frozenset[str] = frozenset()
        self.criteria = tuple(criteria)

    @abstractmethod
    async def rate(self, criterion: Criterion, turns: Sequence[Turn], scene: Scene) -> Rating:
        """Ask whether the last of some turns meets a criterion. Raises NoAnswer and GatewayError."""

    def applies(self, criterion: Criterion, turns: Sequence[Turn], scene: Scene) -> bool:
        """Return whether a criterion can be asked about such a text."""
        del criterion, turns, scene
        return True

    async def judge(self, turns: list[Turn], scene: Scene) -> Judgement:
        """See `GuardModel.judge`. A criterion that is met counts even if others could not be asked."""
        asked = [one for one in self.criteria if self.applies(one, turns, scene)]
        found = await asyncio.gather(*(self.rate(one, turns, scene) for one in asked), return_exceptions=True)
        ratings = [(one, each) for one, each in zip(asked, found, strict=True) if isinstance(each, Rating)]
        met = [one for one, rating in ratings if self._met(rating)]
        errors = [one for one in found if isinstance(one, BaseException)]
        unforeseen = [one for one in errors if not isinstance(one, (NoAnswer, GatewayError))]
        if errors and (unforeseen or not met):
            raise [*unforeseen, *errors][0]
        scores: dict[str, float] = {}
        for one, rating in ratings:
            if name := self._name(one):
                scores[name] = max(scores.get(name, 0.0), _chance(rating))
        return Judgement(
            bool(met),
            max((_chance(rating) for _, rating in ratings), default=0.0),
            tuple(name for one in met if (name := self._name(one))),
            tuple(scores.items()),
            ", ".join(one.title for one in met),
        )

    def _met(self, rating: Rating) -> bool:
        if self.threshold is not None:
            return known(rating.score) >= self.threshold
        return _chance(rating) >= LIKELY

    def _name(self, criterion: Criterion) -> str:
        """Return the category that a criterion stands for: the first of the chosen ones that it covers."""
        chosen = [name for name in criterion.covers if name in self._chosen]
        return [*chosen, *criterion.covers, ""][0]


def chosen(known_ones: Sequence[Criterion], categories: Sequence[str]) -> tuple[Criterion, ...]:
    """Return the criteria that cover some of the categories. Raises ValueError for a category that none covers."""
    covered = {name for one in known_ones for name in one.covers}
    for name in categories:
        if name not in covered and name != OWN:
            raise ValueError(f"does not know the category '{name}'; it knows: {', '.join(sorted(covered))}")
    return tuple(one for one in known_ones if set(one.covers) & set(categories))


def own(texts: Mapping[str, str]) -> tuple[Criterion, ...]:
    """Return the criteria that the operator has written, by their names."""
    return tuple(Criterion(title, words.strip(), (OWN,)) for title, words in texts.items())


def _chance(rating: Rating) -> float:
    return float(rating.met) if rating.score is None else rating.score
