"""Presidio's analyzer over HTTP (`POST /analyze`): personal data that needs a model, such as names and addresses.

Presidio is written in Python, so it counts in characters as this gateway does, those beyond the basic plane included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from pydantic import Field

from tidegate.ports import TextViews
from tidegate.rails.asked.asking import NoAnswer
from tidegate.rails.remote.rail import ENCODER, Asked, RemoteRail, decoded, facts, kind_of_span
from tidegate.rails.remote.service import RemoteConfig
from tidegate.types import PASSED, Scene, Span, Verdict


class PresidioConfig(RemoteConfig):
    """Presidio's analyzer."""

    kind: Literal["presidio"] = "presidio"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    url: str = Field(
        default="http://127.0.0.1:5002", description="Base URL of the analyzer, without `/analyze`."
    )
    language: str = Field(
        default="en",
        min_length=2,
        description="Language of the texts, one that the analyzer has a model for.",
    )
    entities: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Kinds of data to find, such as `PERSON` and `LOCATION`. Default: all that the analyzer knows.",
    )
    score_threshold: float = Field(default=0.5, ge=0, le=1, description="Lowest score that counts.")


class Presidio(RemoteRail):
    """Asks Presidio for personal data."""

    Config: ClassVar[type[PresidioConfig]] = PresidioConfig
    about = facts("presidio", finds_spans=True)

    def __init__(self, config: PresidioConfig) -> None:
        super().__init__(config)
        self._threshold = config.score_threshold
        self._fixed: dict[str, Any] = {"language": config.language, "score_threshold": config.score_threshold}
        if config.entities is not None:
            self._fixed["entities"] = config.entities

    def asks(self, views: TextViews, scene: Scene) -> Sequence[Asked]:
        """See `RemoteRail.asks`."""
        del scene
        body = ENCODER.encode({"text": views.original, **self._fixed})
        return [Asked("analyze", body, views.original)]

    def read(self, answer: bytes, asked: Asked) -> Verdict:
        """See `RemoteRail.read`."""
        found = [one for one in decoded(answer, _DECODER) if one.score >= self._threshold]
        if not found:
            return PASSED
        if not all(0 <= one.start < one.end <= len(asked.text) for one in found):
            raise NoAnswer("the service found something outside of the text")
        spans = tuple(Span(one.start, one.end, kind_of_span(one.entity_type), one.score) for one in found)
        surest = max(spans, key=lambda span: span.score)
        return Verdict(False, category=surest.kind, score=surest.score, reason="personal data", spans=spans)


class _Found(msgspec.Struct):
    entity_type: str
    start: int
    end: int
    score: Annotated[float, msgspec.Meta(ge=0, le=1)]


_DECODER = msgspec.json.Decoder(list[_Found])
