"""The rail `prompt_leak`: answers that give away the system prompt.

Two signs are looked for. Canaries are words that the operator has written into the prompt and that occur nowhere else: an
answer with one has been copied from it. Runs of words that an answer shares with the system prompt of its request need no
preparation. Neither finds a paraphrase.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from tidegate.config.rails import RailConfig
from tidegate.kernel.matching import WordList
from tidegate.kernel.text.folding import folded
from tidegate.ports import Scanner, TextViews
from tidegate.rails.finders import by_words
from tidegate.rails.rules.leaking.stock import STOCK
from tidegate.rails.rules.leaking.words import GRAM, Run, Word, grams_of, long_runs, texts_of, words_of
from tidegate.rails.rules.reading import spans_in
from tidegate.rails.streams.spans import SpanScanner, united
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Span, Surface, Verdict

CANARY: Final = "CANARY"
SYSTEM_PROMPT: Final = "SYSTEM_PROMPT"
MOST_WORDS_IN_PASSAGES: Final = 12
"""The longest run that is certain to be seen as a whole with the 80 characters before a passage."""
_CANARY_CHARS: Final = range(6, 65)
_REMEMBERED: Final = 16
"""How many system prompts and questions are remembered with their grams."""


class PromptLeakConfig(RailConfig):
    """Settings of the rail `prompt_leak`."""

    kind: Literal["prompt_leak"] = "prompt_leak"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    canaries: tuple[str, ...] = Field(
        default=(),
        description="Marker words that stand in your system prompts and nowhere else, such as `tg-canary-5f2c91`: of 6 to"
        " 64 ASCII characters without spaces. An answer must not have any of them, in whatever case.",
    )
    overlap: bool = Field(
        default=True,
        description="Whether an answer must not repeat words of its request's system prompt either. `false` looks for"
        " canaries only, and streams are then held back by a canary's length at most, not by passages.",
    )
    least_words: int = Field(
        default=10,
        ge=6,
        le=50,
        description="How many words in a row an answer has to share with the system prompt. Where a character is a word,"
        f" as in Chinese, it takes twice as many. More than {MOST_WORDS_IN_PASSAGES} needs `hold: whole`. System prompts"
        " with less than twice as many words are not protected: their words are everybody's.",
    )
    allow: tuple[str, ...] = Field(
        default=(),
        description="Parts of system prompts that answers may repeat, such as opening hours.",
    )

    @field_validator("canaries")
    @classmethod
    def _are_markers(cls, canaries: tuple[str, ...]) -> tuple[str, ...]:
        for one in canaries:
            if len(one) not in _CANARY_CHARS or not all("!" <= each <= "~" for each in one):
                raise ValueError(
                    f"has {one!r}: a canary is one word of {_CANARY_CHARS[0]} to {_CANARY_CHARS[-1]} ASCII characters,"
                    " without spaces"
                )
        return canaries

    @model_validator(mode="after")
    def _finds_something(self) -> Self:
        if not self.canaries and not self.overlap:
            raise ValueError("finds nothing: set `canaries`, or leave out `overlap: false`")
        if self.overlap and self.least_words > MOST_WORDS_IN_PASSAGES and self.hold != "whole":
            raise ValueError(
                f"least_words: passages of streams are too short for runs of {self.least_words} words: set `hold: whole`,"
                f" or at most {MOST_WORDS_IN_PASSAGES}"
            )
        return self


class PromptLeak:
    """Finds canaries, and words of the system prompt. Satisfies `ports.Rule` and `ports.Scanning`.

    Its scanner knows no system prompt, so it is only used where canaries alone are looked for.
    """

    Config: ClassVar[type[PromptLeakConfig]] = PromptLeakConfig

    def __init__(self, config: PromptLeakConfig) -> None:
        self._canaries = by_words(WordList(CANARY, config.canaries, whole_words=False))
        self._least_words = config.least_words
        self._allowed = _grams("\n".join(config.allow)) | _grams(STOCK)
        self._overlap = config.overlap
        self.about = RailFacts(
            name=config.name or "prompt_leak",
            version="1",
            surfaces=frozenset({Surface.OUTPUT}),
            hold=Hold("sentence") if config.overlap else Hold("span", self._canaries.max_chars),
            finds_spans=True,
            usual_ms=0.17,
            reads_system=config.overlap,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        every = (views.folded, *views.decoded, *views.guessed)
        if canaries := spans_in(every, self._canaries.find):
            return _objection("canary", "a canary of the system prompt", canaries)
        if not self._overlap or not scene.system:
            return PASSED
        prompt = _grams(scene.system)
        if len(prompt) + GRAM <= 2 * self._least_words:
            return PASSED
        shared = spans_in(every, lambda text, _: self._shared(text, prompt, scene.question))
        return _objection("system_prompt", "words of the system prompt", shared) if shared else PASSED

    def scanner(self) -> Scanner:
        return SpanScanner(self._canaries, folded)

    def _shared(self, text: str, prompt: frozenset[int], question: str) -> Sequence[Span]:
        """Return the runs of words that a text shares with the prompt, but not with the question."""
        if prompt.isdisjoint(grams_of(texts_of(text))):
            return ()
        words = words_of(text)
        if not self._runs(words, prompt):
            return ()
        runs = self._runs(words, prompt - self._allowed - _grams(question))
        return [Span(words[one.first].start, words[one.end - 1].end, SYSTEM_PROMPT) for one in runs]

    def _runs(self, words: Sequence[Word], prompt: frozenset[int]) -> Sequence[Run]:
        return long_runs(words, lambda gram: 0 if gram in prompt else -1, self._least_words)


@lru_cache(maxsize=_REMEMBERED)
def _grams(text: str) -> frozenset[int]:
    return frozenset(grams_of(texts_of(folded(text).text)))


def _objection(category: str, reason: str, spans: Sequence[Span]) -> Verdict:
    return Verdict(False, category=category, score=1.0, reason=reason, spans=tuple(united(spans)))
