"""Groundedness: whether an answer says only what the context says that the operator names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tidegate.rails.asked.asking import NoAnswer
from tidegate.rails.asked.conversation import Turn, results_in
from tidegate.rails.judges.answering import NO
from tidegate.rails.judges.judging import (
    Judge,
    JudgeConfig,
    NothingToJudge,
    Values,
    facts_of_answers,
    question_in,
    read_file,
)
from tidegate.types import Scene


class GroundednessConfig(JudgeConfig):
    """Settings of the rail `judge_groundedness`."""

    sources: tuple[Literal["documents", "tools", "file"], ...] = Field(
        default=("documents", "tools"),
        min_length=1,
        description="What an answer has to be grounded in: the `documents` of the request, the results of its `tools`, and"
        " the `file` of `path`.",
    )
    path: Path | None = Field(default=None, description="Text file that answers have to be grounded in.")
    no_context: Literal["fail", "pass"] = Field(
        default="fail",
        description="What happens to an answer for which there is none of it: the rail has no verdict, so that `on_error`"
        " decides (`fail`), or it passes.",
    )

    @field_validator("path")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None:
            read_file(path)
        return path

    @model_validator(mode="after")
    def _with_its_file(self) -> GroundednessConfig:
        if ("file" in self.sources) != (self.path is not None):
            raise ValueError("needs `path` and `file` in `sources` together: set both, or neither")
        return self


class Groundedness(Judge):
    """Asks whether an answer says only what the given context says. `no` objects."""

    Config: ClassVar[type[GroundednessConfig]] = GroundednessConfig
    about = facts_of_answers("judge_groundedness")
    category = "ungrounded"
    objects = NO
    default_prompt = (
        "An assistant may say only what follows from this context:\n\n{{ context }}\n\n"
        "The question was:\n\n{{ question }}\n\nThe assistant answered:\n\n{{ text }}\n\n"
        "Does everything in the answer follow from the context? To say that the context does not tell is fine."
    )

    def __init__(self, config: GroundednessConfig) -> None:
        super().__init__(config)
        self._sources = config.sources
        self._file = () if config.path is None else (read_file(config.path),)
        self._passes = config.no_context == "pass"

    def values(self, turns: Sequence[Turn], scene: Scene) -> Values:
        """See `Judge.values`."""
        found = {"documents": scene.context, "tools": results_in(scene.messages), "file": self._file}
        context = tuple(text for source in dict.fromkeys(self._sources) for text in found[source])
        if not context:
            if self._passes:
                raise NothingToJudge
            raise NoAnswer(
                f"there is no context: the request has none of {', '.join(self._sources)}; set `no_context: pass` to let"
                " such answers pass"
            )
        return {"question": question_in(turns, scene), "context": context}
