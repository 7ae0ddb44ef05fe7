"""A judge by a criterion of the operator's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from tidegate.rails.asked.conversation import Turn
from tidegate.rails.judges.answering import NO
from tidegate.rails.judges.judging import Judge, JudgeConfig, Values, facts, question_in, talk_in
from tidegate.rails.judges.prompt import TEXT
from tidegate.types import Scene, Surface


class CriterionConfig(JudgeConfig):
    """Settings of the rail `judge`."""

    placeholders = (TEXT, "criterion", "question", "context")
    criterion: str = Field(
        min_length=1, description="What is asked of a text, such as `The text is polite and in English.`"
    )
    objects: Literal["yes", "no"] = Field(
        default=NO,
        description="The answer that objects: `no` if texts have to meet the criterion, `yes` if they must not.",
    )


class Criterion(Judge):
    """Asks whether a text meets a criterion."""

    Config: ClassVar[type[CriterionConfig]] = CriterionConfig
    about = facts("judge", [Surface.OUTPUT])
    category = "criterion"
    default_prompt = (
        "A text is judged by this criterion:\n\n{{ criterion }}\n\nThis was said before:\n\n{{ context }}\n\n"
        "This is the text:\n\n{{ text }}\n\nDoes the text meet the criterion?"
    )

    def __init__(self, config: CriterionConfig) -> None:
        super().__init__(config)
        self._criterion = config.criterion
        self.objects = config.objects

    def values(self, turns: Sequence[Turn], scene: Scene) -> Values:
        """See `Judge.values`."""
        return {
            "criterion": self._criterion,
            "question": question_in(turns, scene),
            "context": talk_in(turns),
        }
