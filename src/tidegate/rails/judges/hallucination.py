"""Hallucination: whether other answers to the same question agree with an answer.

What a model knows it says again when it is asked again; what it has made up differs each time (SelfCheckGPT, Manakul et
al. 2023). The question is asked several times at temperature 1, and one judgement compares the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from pydantic import Field, model_validator

from tidegate.config.settings import Name
from tidegate.ports import Services
from tidegate.rails.asked.asking import NoAnswer
from tidegate.rails.asked.conversation import Turn
from tidegate.rails.judges.answering import NO
from tidegate.rails.judges.judging import (
    Judge,
    JudgeConfig,
    Values,
    facts_of_answers,
    question_in,
    raw_messages,
    together,
)
from tidegate.rails.judges.prompt import TEXT
from tidegate.types import Scene

_USUAL_MS = 2500.0
"""A whole answer, and the judgement after it."""


class HallucinationConfig(JudgeConfig):
    """Settings of the rail `judge_hallucination`."""

    placeholders = (TEXT, "samples", "agreeing", "question")
    sampler: Name | None = Field(
        default=None,
        description="Name of the model that is asked the question again. Default: the model of the answer.",
    )
    samples: int = Field(default=3, ge=1, le=10, description="How often the question is asked again.")
    agreeing_samples: int | None = Field(
        default=None,
        ge=1,
        description="How many of the samples an answer has to agree with. Default: more than half.",
    )
    sample_tokens: int = Field(default=512, ge=1, description="Most tokens of a sample.")

    @model_validator(mode="after")
    def _enough_samples(self) -> HallucinationConfig:
        if self.agreeing_samples is not None and self.agreeing_samples > self.samples:
            raise ValueError(
                f"has agreeing_samples: {self.agreeing_samples} of {self.samples} `samples`: set no more than all"
            )
        return self


class Hallucination(Judge):
    """Asks whether samples agree with an answer. `no` objects."""

    Config: ClassVar[type[HallucinationConfig]] = HallucinationConfig
    about = facts_of_answers("judge_hallucination", usual_ms=_USUAL_MS)
    category = "ungrounded"
    objects = NO
    default_prompt = (
        "This question was asked several times:\n\n{{ question }}\n\nThis is the answer under test:\n\n{{ text }}\n\n"
        "These are samples, other answers to the same question:\n\n{{ samples }}\n\n"
        "A sample agrees with the answer if it supports its facts and contradicts none of them; other words do not"
        " matter. Do at least {{ agreeing }} of the samples agree with the answer?"
    )

    def __init__(self, config: HallucinationConfig) -> None:
        super().__init__(config)
        self._sampler = config.sampler or ""
        self._samples = config.samples
        self._sample_tokens = config.sample_tokens
        self._agreeing = str(config.agreeing_samples or config.samples // 2 + 1)

    async def open(self, services: Services) -> None:
        """See `Judge.open`. Raises ValueError for a sampler that is not configured."""
        await super().open(services)
        if self._sampler:
            services.engines_of(self._sampler)

    def values(self, turns: Sequence[Turn], scene: Scene) -> Values:
        """See `Judge.values`."""
        return {"question": question_in(turns, scene), "agreeing": self._agreeing}

    def content(self, values: Values, scene: Scene) -> Iterable[str]:
        """See `Judge.content`. The samples depend on the whole conversation, and on the model."""
        yield from super().content(values, scene)
        yield self._sampler or scene.model
        for one in raw_messages(scene):
            yield bytes(one).decode("utf-8", "replace")

    async def found_out(self, scene: Scene) -> Values:
        """Ask the question again, several times. Raises NoAnswer if a sample is missing."""
        messages, model = raw_messages(scene), self._sampler or scene.model
        if not messages or not model:
            raise NoAnswer("there is no question that could be asked again")
        found = await together(
            [
                self.model.chat(
                    messages,
                    scene,
                    most_tokens=self._sample_tokens,
                    model=model,
                    temperature=1,
                    logprobs=None,
                    top_logprobs=None,
                )
                for _ in range(self._samples)
            ]
        )
        if not all(one.text.strip() for one in found):
            raise NoAnswer("a sample is empty")
        return {"samples": tuple(one.text for one in found)}
