"""NemoGuard topic control (NVIDIA): whether what a user says is within the topics that the operator has described.

The model is `llama-3.1-nemoguard-8b-topic-control`. Its system message has the guidelines and ends with a fixed sentence.
The conversation follows as messages. The answer is `on-topic` or `off-topic`, see the model card.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
from pydantic import Field, model_validator

from tidegate.rails.asked.asking import Completion, NoAnswer, share
from tidegate.rails.asked.conversation import Turn
from tidegate.rails.guards.marks import unmarked
from tidegate.rails.guards.model import GuardConfig, GuardModel, Judgement, facts
from tidegate.rails.guards.nemo.llama import llama_prompt
from tidegate.types import Scene, Surface

_MOST_TOKENS = 10
_ON, _OFF = "on-topic", "off-topic"
_DEMAND = (
    'If any of the above conditions are violated, please respond with "off-topic". Otherwise, respond with "on-topic".'
    ' You must respond with "on-topic" or "off-topic".'
)


class NemoTopicControlConfig(GuardConfig):
    """NemoGuard topic control."""

    guidelines: str = Field(
        min_length=1,
        description="What users may talk about and what not, as instructions to the model, such as `You answer questions"
        " about our bank. Do not talk about insurance.`",
    )

    @model_validator(mode="after")
    def _no_categories(self) -> NemoTopicControlConfig:
        if self.categories is not None:
            raise ValueError("has `categories`, but this model knows only `off_topic`: leave them out")
        return self


class NemoTopicControl(GuardModel):
    """Asks NemoGuard topic control whether a user keeps to the topics of the application."""

    Config: ClassVar[type[NemoTopicControlConfig]] = NemoTopicControlConfig
    about = msgspec.structs.replace(
        facts("nemo_topic_control", "1"),
        surfaces=frozenset({Surface.INPUT}),
        usual=frozenset({Surface.INPUT}),
    )

    def __init__(self, config: NemoTopicControlConfig) -> None:
        super().__init__(config, {_OFF: "off_topic"})
        self._transport = config.transport
        guidelines = config.guidelines.strip().removesuffix(_DEMAND).rstrip()
        self._system = {"role": "system", "content": f"{guidelines}\n\n{_DEMAND}"}

    async def judge(self, turns: list[Turn], scene: Scene) -> Judgement:
        """See `GuardModel.judge`."""
        messages = [
            self._system,
            *({"role": turn.role, "content": unmarked(turn.text)} for turn in turns),
        ]
        if self._transport == "completions":
            return _read(await self._model.complete(llama_prompt(messages), scene, most_tokens=_MOST_TOKENS))
        return _read(await self._model.chat(messages, scene, most_tokens=_MOST_TOKENS))


def _read(found: Completion) -> Judgement:
    word = found.text.strip().strip("\"'`.").lower()
    if word not in (_ON, _OFF):
        raise NoAnswer("the model answered neither 'on-topic' nor 'off-topic'")
    off = word == _OFF
    score = share(found.first, _OFF, _ON)
    return Judgement(off, float(off) if score is None else score, (_OFF,))
