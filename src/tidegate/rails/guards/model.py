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
from tidegate.rails.asked.asking import AskingConfig, Model, NoAnswer, known, no_verdict
from tidegate.rails.asked.conversation import Turn, conversation_of
from tidegate.rails.asked.hazards import OTHER, HazardName, hazard
from tidegate.types import PASSED, Hold, RailFacts, Scene, Surface, Verdict

USUAL_MS = 50.0
"""How long a guard model of 8 billion parameters takes for a short text on a GPU."""


CUT_OFF = "cut off"
"""A label that stands for those that an answer did not come to. Nobody knows which, so it counts as any of them."""


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

    `score` is the probability that it is unsafe; None if the engine gives no probabilities. `labels` are the categories as
    the model names them. A guard that rates each category by itself says so in `scores`, by our names. `reason` is for the
    operator, and has no text of users.
    """

    unsafe: bool
    score: float | None
    labels: tuple[str, ...] = ()
    scores: tuple[tuple[str, float], ...] = ()
    reason: str = ""


def facts(kind: str, version: str, *, usual_ms: float = USUAL_MS) -> RailFacts:
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
        punctual=True,
    )


class GuardModel(ABC):
    """A guard model. A subclass says what it is, how it asks, and what the model's labels mean."""

    about: RailFacts

    def __init__(self, config: GuardConfig, labels: Mapping[str, str]) -> None:
        """`labels` are the names of our categories by the model's labels, in lower case.

        Raises ValueError for a category that the model cannot name, since nothing would ever be unsafe in it.
        """
        for name in config.categories or ():
            if name not in labels.values():
                told = ", ".join(sorted({*labels.values()} - {OTHER}))
                raise ValueError(f"does not know the category '{name}'; it knows: {told}")
        self._labels = labels
        self._config = config
        self._model = Model(config.name or config.kind, config)
        self.threshold = config.threshold
        self._counted = frozenset(config.categories or ())

    async def open(self, services: Services) -> None:
        """See `Opened`."""
        self._model.open(services)

    async def close(self) -> None:  # noqa: B027 - nothing has to be closed, since the model is the configuration's
        """See `Opened`."""

    async def check(self, views: TextViews, scene: Scene) -> Verdict:
        """Ask the model about a text. Raises GatewayError if it cannot be asked."""
        turns = conversation_of(views, scene, most=self._config.most_turns)
        documents = [str(len(scene.context)), *scene.context]
        remembered = self._model.remembered
        key = remembered.key_of(
            [scene.caller.organisation, scene.surface.value, *documents, *_content(turns)]
        )
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
        """Return the verdict for a judgement: the labels are mapped onto our categories, and only those that count do.

        Raises NoAnswer if there is a threshold and no probability.
        """
        names = [self._labels.get(label.strip().lower(), OTHER) for label in judged.labels]
        score = float(judged.unsafe) if judged.score is None else judged.score
        unsafe = judged.unsafe if self.threshold is None else known(judged.score) >= self.threshold
        if self._counted:
            # A label that nobody knows may mean anything, so it counts.
            names = [name for name in names if name in self._counted or name == OTHER]
            unsafe = unsafe and (bool(names) or not judged.labels)
        scores = judged.scores or tuple((name, score) for name in dict.fromkeys(names) if name != OTHER)
        if not unsafe:
            return Verdict(passed=True, score=score, scores=scores) if score or scores else PASSED
        category = names[0] if names else "unsafe"
        reason = judged.reason or ", ".join(names)
        return Verdict(passed=False, category=category, score=score, reason=reason, scores=scores)


def by_code(codes: range = range(1, 15)) -> dict[str, str]:
    """Return the names of categories by their codes in lower case, `s1` to `s14`."""
    return {f"s{at}": hazard(f"S{at}").name for at in codes}


def _content(turns: list[Turn]) -> list[str]:
    """Return what the key of a verdict depends on, images included."""
    return [part for turn in turns for part in (turn.role, turn.text, *map(str, turn.media))]
