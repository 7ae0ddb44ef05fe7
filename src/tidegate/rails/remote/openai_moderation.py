"""OpenAI's moderation endpoint (`POST /v1/moderations`), and every server that speaks it: texts and images.

The format is that of OpenAI's API reference: `results` with `flagged`, `categories` and `category_scores`. The endpoint
takes one image a request, so each further image is a request of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from pydantic import Field, field_validator

from tidegate.ports import TextViews
from tidegate.rails.asked.asking import NoAnswer
from tidegate.rails.asked.conversation import Part, conversation_of, picture
from tidegate.rails.asked.hazards import OTHER, HazardName
from tidegate.rails.remote.rail import ENCODER, Asked, RemoteRail, decoded, facts, objection
from tidegate.rails.remote.service import RemoteConfig
from tidegate.types import Scene, Verdict

_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "harassment": "harassment",
        "harassment/threatening": "harassment",
        "hate": "hate",
        "hate/threatening": "hate",
        "illicit": "illicit",
        "illicit/violent": "violent_crimes",
        "self-harm": "self_harm",
        "self-harm/intent": "self_harm",
        "self-harm/instructions": "self_harm",
        "sexual": "sexual_content",
        "sexual/minors": "child_exploitation",
        "violence": "violence",
        "violence/graphic": "violence",
    }
)


class OpenAIModerationConfig(RemoteConfig):
    """OpenAI's moderation."""

    kind: Literal["openai_moderation"] = "openai_moderation"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    url: str = Field(default="https://api.openai.com/v1", description="Base URL, up to and including `/v1`.")
    model: str = Field(default="omni-moderation-latest", min_length=1, description="The moderation model.")
    thresholds: Mapping[HazardName, Annotated[float, Field(gt=0, le=1)]] = Field(
        default={},
        description="Score from which a category counts, by its name in the table of categories, such as `violence: 0.7`."
        " The service itself decides about the other categories.",
    )
    images: bool = Field(default=True, description="Whether the images of messages are checked too.")

    @field_validator("thresholds")
    @classmethod
    def _told(cls, thresholds: Mapping[str, float]) -> Mapping[str, float]:
        told = sorted({*_NAMES.values()})
        for name in thresholds:
            if name not in told:
                raise ValueError(f"has '{name}', which the service does not tell: it tells {', '.join(told)}")
        return thresholds


class OpenAIModeration(RemoteRail):
    """Asks OpenAI's moderation endpoint about texts and images."""

    Config: ClassVar[type[OpenAIModerationConfig]] = OpenAIModerationConfig
    about = facts("openai_moderation", reads_messages=True, sees_images=True)

    def __init__(self, config: OpenAIModerationConfig) -> None:
        super().__init__(config)
        self.about = msgspec.structs.replace(
            self.about, reads_messages=config.images, sees_images=config.images
        )
        self._model = config.model
        self._thresholds = config.thresholds

    def asks(self, views: TextViews, scene: Scene) -> Sequence[Asked]:
        """See `RemoteRail.asks`."""
        text, media = views.original, tuple[Part, ...]()
        if self.about.sees_images:
            turn = conversation_of(views, scene, most=1)[-1]
            text, media = turn.text, turn.media
        first: list[dict[str, Any]] = [{"type": "text", "text": text}] if text or not media else []
        parts = [picture(one) for one in media]
        inputs = [first + parts[:1], *([one] for one in parts[1:])]
        return [
            Asked("moderations", ENCODER.encode({"model": self._model, "input": one}), text) for one in inputs
        ]

    def read(self, answer: bytes, asked: Asked) -> Verdict:
        """See `RemoteRail.read`."""
        del asked
        results = decoded(answer, _DECODER).results
        if not results:
            raise NoAnswer("the service answered without a result")
        found: list[str] = []
        scores: dict[str, float] = {}
        unsafe = False
        for one in results:
            objected = list(self._objected(one))
            found += objected
            unsafe = unsafe or bool(objected) or self._flagged_alone(one)
            for label, score in one.category_scores.items():
                name = _NAMES.get(label, OTHER)
                scores[name] = max(score, scores.get(name, 0.0))
        told = tuple((name, score) for name, score in scores.items() if name != OTHER)
        highest = max(scores.values(), default=float(unsafe))
        if not unsafe:
            return Verdict(True, score=highest, scores=told)
        found.sort(key=lambda name: -scores.get(name, 0.0))
        return objection(found, highest, scores=told)

    def _objected(self, one: _Result) -> Iterator[str]:
        for label in {**one.categories, **one.category_scores}:
            name = _NAMES.get(label, OTHER)
            threshold = self._thresholds.get(name)
            score = one.category_scores.get(label)
            if threshold is None or score is None:
                if one.categories.get(label):
                    yield name
            elif score >= threshold:
                yield name

    @staticmethod
    def _flagged_alone(one: _Result) -> bool:
        """Whether the service objects without saying why, so that no threshold can be compared."""
        return one.flagged and not any(one.categories.values())


class _Result(msgspec.Struct):
    flagged: bool
    categories: dict[str, bool | None]
    category_scores: dict[str, Annotated[float, msgspec.Meta(ge=0, le=1)]] = {}


class _Answer(msgspec.Struct):
    results: list[_Result]


_DECODER = msgspec.json.Decoder(_Answer)
