"""What all guard models share: their settings, and the way from a text to a verdict.

A guard renders the conversation in the format of its model, and reads the answer: see `GuardModel.judge`. An answer in
another format than the model's is an error of the rail, never a judgement.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import Field

from tidegate.ports import Services, TextViews
from tidegate.rails.asking import AskingConfig, Model, NoAnswer, no_verdict
from tidegate.rails.conversation import Turn, conversation_of
from tidegate.rails.hazards import OTHER, HazardName, hazard
from tidegate.types import Hold, RailFacts, Scene, Surface, Verdict

USUAL_MS = 50.0
"""How long a guard model of 8 billion parameters takes for a short text on a GPU."""


class GuardConfig(AskingConfig):
    """A guard model."""

    transport: Literal["chat", "completions"] = Field(
        default="chat",
        description="How the model is asked: by `chat` its server applies the model's own chat template, by `completions`"
        " the gateway sends the whole prompt.",
    )
    categories: tuple[HazardName, ...] | None = Field(
        default=None,
        min_length=1,
        description="Categories that count, by name or code, such as `self_harm` or `S11`. A text that is only unsafe in"
        " others passes. Default: every category that the model knows.",
    )
    threshold: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Probability of the answer `unsafe` from which a text is unsafe, for engines that send `logprobs`."
        " Default: what the model answers.",
    )
    most_turns: int = Field(
        default=10, ge=1, description="How many of the latest turns of a conversation the model reads."
    )


class Judgement(NamedTuple):
    """What a guard model says of a text.

    `score` is the probability that it is unsafe. `labels` are the categories as the model names them.
    """

    unsafe: bool
    score: float
    labels: tuple[str, ...] = ()


def facts(kind: str, version: str, *, sees_images: bool = False, usual_ms: float = USUAL_MS) -> RailFacts:
    """Return the facts of a guard that judges what users and models say, in the light of the conversation before it."""
    return RailFacts(
        kind,
        version,
        frozenset(Surface),
        tier=2,
        hold=Hold("sentence"),
        usual_ms=usual_ms,
        usual=frozenset({Surface.INPUT, Surface.OUTPUT}),
        reads_messages=True,
        sees_images=sees_images,
    )


class GuardModel(ABC):
    """A guard model. A subclass says what it is, how it asks, and what the model's labels mean."""

    about: RailFacts
    labels: Mapping[str, str]
    """The names of our categories by the model's labels, in lower case."""

    def __init__(self, config: GuardConfig) -> None:
        self._config = config
        self._model = Model(config.name or config.kind, config)
        self._counted = frozenset(config.categories or ())

    async def open(self, services: Services) -> None:
        """See `Opened`."""
        self._model.open(services)

    async def close(self) -> None:  # noqa: B027 - nothing has to be closed, since the model is the configuration's
        """See `Opened`."""

    async def check(self, views: TextViews, scene: Scene) -> Verdict:
        """Ask the model about a text. Raises GatewayError if it cannot be asked."""
        turns = conversation_of(views, scene, most=self._config.most_turns)
        remembered = self._model.remembered
        key = remembered.key_of([scene.caller.organisation, scene.surface.value, *_content(turns)])
        verdict = remembered.get(key)
        if verdict is None:
            try:
                verdict = self.verdict(await self.judge(turns, scene))
            except NoAnswer as error:
                return no_verdict(str(error))
            remembered.put(key, verdict)
        return verdict

    @abstractmethod
    async def judge(self, turns: list[Turn], scene: Scene) -> Judgement:
        """Ask the model about the last of some turns. Raises NoAnswer for an answer in another format, GatewayError."""

    def verdict(self, judged: Judgement) -> Verdict:
        """Return the verdict for a judgement: the labels are mapped onto our categories, and only those that count do."""
        names = [self.labels.get(label.strip().lower(), OTHER) for label in judged.labels]
        threshold = self._config.threshold
        unsafe = judged.unsafe if threshold is None else judged.score >= threshold
        if self._counted:
            # A label that nobody knows may mean anything, so it counts.
            names = [name for name in names if name in self._counted or name == OTHER]
            unsafe = unsafe and (bool(names) or not judged.labels)
        scores = tuple((name, judged.score) for name in dict.fromkeys(names) if name != OTHER)
        if not unsafe:
            return Verdict(passed=True, score=judged.score, scores=scores)
        category = names[0] if names else "unsafe"
        return Verdict(
            passed=False, category=category, score=judged.score, reason=", ".join(names), scores=scores
        )


def by_code(codes: range = range(1, 15)) -> dict[str, str]:
    """Return the names of categories by their codes in lower case, `s1` to `s14`."""
    return {f"s{at}": hazard(f"S{at}").name for at in codes}


def share(first: Mapping[str, float], word: str, other: str) -> float | None:
    """Return the probability of one word against another one at the first token; None if neither is known.

    A tokenizer may cut a word, so a token counts for the word that it begins. One that begins both counts for neither.
    """
    one = sum(chance for token, chance in first.items() if _begins(token, word, other))
    two = sum(chance for token, chance in first.items() if _begins(token, other, word))
    return one / (one + two) if one + two > 0 else None


def _begins(token: str, word: str, other: str) -> bool:
    token = token.lower()
    return bool(token) and word.startswith(token) and not other.startswith(token)


def _content(turns: list[Turn]) -> list[str]:
    """Return what the key of a verdict depends on, images included."""
    return [part for turn in turns for part in (turn.role, turn.text, *map(str, turn.images))]
