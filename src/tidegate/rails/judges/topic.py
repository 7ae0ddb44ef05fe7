"""Topic: whether what a user writes is what the application is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from tidegate.rails.asked.conversation import Turn
from tidegate.rails.judges.answering import NO
from tidegate.rails.judges.judging import Judge, JudgeConfig, Values, facts, question_in, talk_in
from tidegate.rails.judges.prompt import TEXT
from tidegate.types import Scene, Surface


class TopicConfig(JudgeConfig):
    """Settings of the rail `judge_topic`."""

    placeholders = (TEXT, "topic", "question", "context")
    topic: str = Field(
        min_length=1,
        description="What may be spoken about, in sentences, such as `Orders and returns of our shop. Small talk is fine.`",
    )


class Topic(Judge):
    """Asks whether a text is on topic. `no` objects."""

    Config: ClassVar[type[TopicConfig]] = TopicConfig
    about = facts("judge_topic", [Surface.INPUT])
    category = "off_topic"
    objects = NO
    default_prompt = (
        "An application is for this alone:\n\n{{ topic }}\n\nThis was said before:\n\n{{ context }}\n\n"
        "This is the latest text:\n\n{{ text }}\n\nIs the latest text about what the application is for?"
    )

    def __init__(self, config: TopicConfig) -> None:
        super().__init__(config)
        self._topic = config.topic

    def values(self, turns: Sequence[Turn], scene: Scene) -> Values:
        """See `Judge.values`."""
        return {"topic": self._topic, "question": question_in(turns, scene), "context": talk_in(turns)}
