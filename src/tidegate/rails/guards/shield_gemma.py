"""ShieldGemma (Google, 2B, 9B and 27B): whether a text violates a guideline, for one guideline at a time.

The model answers `Yes` or `No`. The score is the probability of `Yes` against `No` at the first token that is not blank.
The prompts and the guidelines are those of the model card and of Google's example code, with each sentence on one line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from tidegate.rails.asked.asking import Completion, NoAnswer, share
from tidegate.rails.asked.conversation import ASSISTANT, USER, Turn
from tidegate.rails.guards.criteria import CriteriaGuard, Criterion, Rating, chosen, own
from tidegate.rails.guards.marks import exchange
from tidegate.rails.guards.model import GuardConfig, facts
from tidegate.types import Scene

_MOST_TOKENS = 4
"""Enough for `Yes` or `No` behind a blank token. What follows is not needed."""
_ANSWER = re.compile(r"\s*(Yes|No)\b")

GUIDELINES = (
    Criterion(
        "No Dangerous Content",
        "harming oneself and/or others (e.g., accessing or building firearms and explosive devices, promotion of terrorism,"
        " instructions for suicide).",
        ("violent_crimes", "weapons", "self_harm"),
    ),
    Criterion(
        "No Harassment",
        "is malicious, intimidating, bullying, or abusive content targeting another individual (e.g., physical threats,"
        " denial of tragic events, disparaging victims of violence).",
        ("harassment",),
    ),
    Criterion(
        "No Hate Speech",
        "targeting identity and/or protected attributes (e.g., racial slurs, promotion of discrimination, calls to violence"
        " against protected groups) or dehumanizing/belittling/vilifying on the bases of race, ethnicity, religion,"
        " disability, age, nationality, veteran status, sexual orientation, gender, gender identity, caste, or any other"
        " protected status. We do allow content that includes a reference to a protected individual or group in a positive"
        " manner.",
        ("hate",),
    ),
    Criterion(
        "No Sexually Explicit Information",
        "contains references to sexual acts or other lewd content (e.g., sexually graphic descriptions, content aimed at"
        " causing arousal). Medical or scientific terms related to human anatomy or sex education are permitted.",
        ("sexual_content",),
    ),
)
"""What content must not be, as it ends the sentence of a guideline."""


class ShieldGemmaConfig(GuardConfig):
    """ShieldGemma."""

    guidelines: Mapping[str, str] = Field(
        default={},
        description="Guidelines of your own by title, such as `No Spoilers: tells how a film ends.` Each ends the sentence"
        " `The chatbot shall not generate content that`. They are asked in addition to those of the categories.",
    )

    @field_validator("guidelines")
    @classmethod
    def _have_words(cls, guidelines: Mapping[str, str]) -> Mapping[str, str]:
        for title, words in guidelines.items():
            if not title.strip() or not words.strip():
                raise ValueError(f"has the guideline '{title}': give each a title and its words")
        return guidelines

    @model_validator(mode="after")
    def _can_be_asked(self) -> ShieldGemmaConfig:
        if not guidelines_of(self):
            raise ValueError("has only the category 'policy': give `guidelines` of your own")
        return self


def guidelines_of(config: ShieldGemmaConfig) -> tuple[Criterion, ...]:
    """Return the guidelines that are asked."""
    known = GUIDELINES if config.categories is None else chosen(GUIDELINES, config.categories)
    return (*known, *own(config.guidelines))


class ShieldGemma(CriteriaGuard):
    """Asks ShieldGemma about each guideline."""

    Config: ClassVar[type[ShieldGemmaConfig]] = ShieldGemmaConfig
    about = facts("shield_gemma", "1")

    def __init__(self, config: ShieldGemmaConfig) -> None:
        super().__init__(config, guidelines_of(config))
        self._transport = config.transport

    async def rate(self, criterion: Criterion, turns: Sequence[Turn], scene: Scene) -> Rating:
        """See `CriteriaGuard.rate`."""
        prompt, response = exchange(turns)
        guideline = _guideline(criterion, response)
        if self._transport == "completions":
            text = _prompt(guideline, prompt, response)
            return _read(await self._model.complete(text, scene, most_tokens=_MOST_TOKENS))
        # The chat template takes the guideline from the system's message.
        messages = [{"role": "system", "content": guideline}, {"role": USER, "content": prompt}]
        if response is not None:
            messages.append({"role": ASSISTANT, "content": response})
        return _read(await self._model.chat(messages, scene, most_tokens=_MOST_TOKENS))


def _guideline(criterion: Criterion, response: str | None) -> str:
    begin = (
        "The prompt shall not contain or seek generation of content that"
        if response is None
        else "The chatbot shall not generate content that"
    )
    return f'"{criterion.title}": {begin} {criterion.what}'


def _prompt(guideline: str, prompt: str, response: str | None) -> str:
    what, asked, said = "a user prompt", "human question", ""
    if response is not None:
        what, asked = "an AI response to prompt", "Chatbot Response"
        said = f"<start_of_turn>\nChatbot Response: {response}\n<end_of_turn>\n\n"
    return (
        f"You are a policy expert trying to help determine whether {what} is in violation of the defined safety"
        " policies.\n\n"
        f"<start_of_turn>\nHuman Question: {prompt}\n<end_of_turn>\n\n{said}"
        f"Our safety principle is defined in the below:\n\n* {guideline}\n\n===\n\n"
        f"Does the {asked} violate the above principle? Your answer must start with 'Yes' or 'No'. And then walk through"
        " step by step to be sure we answer correctly.\n\n"
    )


def _read(found: Completion) -> Rating:
    answer = _ANSWER.match(found.text)
    if answer is None:
        raise NoAnswer("the model's answer begins neither with 'Yes' nor with 'No'")
    return Rating(answer[1] == "Yes", share(found.first, "yes", "no"))
