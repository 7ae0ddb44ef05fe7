"""Lakera Guard, version 2 of its API (`POST /v2/guard`): injections, personal data, harmful content and unknown links.

The project on Lakera's side says which detectors run, and with which thresholds. `breakdown` tells which of them objected,
and `payload` where in the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import Field

from tidegate.ports import TextViews
from tidegate.rails.asked.hazards import OTHER
from tidegate.rails.remote.rail import ENCODER, Asked, RemoteRail, decoded, facts, kind_of_span, objection
from tidegate.rails.remote.service import RemoteConfig
from tidegate.types import Scene, Span, Surface, Verdict

_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "prompt_attack": "injection",
        "unknown_links": "policy",
        "pii": "privacy",
        "moderated_content/crime": "illicit",
        "moderated_content/hate": "hate",
        "moderated_content/profanity": "profanity",
        "moderated_content/sexual": "sexual_content",
        "moderated_content/violence": "violence",
        "moderated_content/weapons": "weapons",
        "moderated_content/self_harm": "self_harm",
    }
)
"""Our categories by the type of a detector, or by the part of it before the first slash."""
_ROLES = {Surface.OUTPUT: "assistant", Surface.SYSTEM: "system", Surface.TOOL: "tool"}
"""The roles of messages by where a text comes from; `user` for the others."""


class LakeraConfig(RemoteConfig):
    """Lakera Guard."""

    kind: Literal["lakera"] = "lakera"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    url: str = Field(
        default="https://api.lakera.ai",
        description="Base URL, without `/v2`: that of the region, or of your own installation.",
    )
    project_id: str | None = Field(
        default=None,
        min_length=1,
        description="Project whose policy holds. Default: the policy of the account.",
    )
    tells_user: bool = Field(
        default=False,
        description="Whether Lakera is told the name of the caller's user, as `metadata.user_id`.",
    )


class Lakera(RemoteRail):
    """Asks Lakera Guard about texts."""

    Config: ClassVar[type[LakeraConfig]] = LakeraConfig
    about = facts("lakera", finds_spans=True)

    def __init__(self, config: LakeraConfig) -> None:
        super().__init__(config)
        self._project_id = config.project_id
        self._tells_user = config.tells_user

    def asks(self, views: TextViews, scene: Scene) -> Sequence[Asked]:
        """See `RemoteRail.asks`."""
        role = _ROLES.get(scene.surface, "user")
        body: dict[str, Any] = {"messages": [{"role": role, "content": views.original}]}
        if self._project_id is not None:
            body["project_id"] = self._project_id
        body |= {"breakdown": True, "payload": True}
        if self._tells_user and scene.caller.user:
            body["metadata"] = {"user_id": scene.caller.user}
        return [Asked("v2/guard", ENCODER.encode(body), views.original)]

    def read(self, answer: bytes, asked: Asked) -> Verdict:
        """See `RemoteRail.read`."""
        found = decoded(answer, _DECODER)
        detected = [one.detector_type for one in found.breakdown or () if one.detected]
        if not found.flagged and not detected:
            return Verdict(True)
        payload = found.payload or []
        # Masks do not help against what has no place in the text, such as an attack.
        located = {one.detector_type for one in payload}
        masks = bool(detected) and located.issuperset(detected)
        spans = _spans(payload, asked.text) if masks else ()
        return objection([_name(one) for one in dict.fromkeys(detected)], spans=spans)


class _Detector(msgspec.Struct):
    detector_type: str
    detected: bool


class _Found(msgspec.Struct):
    start: int
    end: int
    detector_type: str
    text: str | None = None


class _Answer(msgspec.Struct):
    flagged: bool
    breakdown: list[_Detector] | None = None
    payload: list[_Found] | None = None


_DECODER = msgspec.json.Decoder(_Answer)


def _name(detector: str) -> str:
    return _NAMES.get(detector) or _NAMES.get(detector.partition("/")[0], OTHER)


def _spans(payload: Sequence[_Found], text: str) -> tuple[Span, ...]:
    """Return the places of findings; none if one of them is not where the service says, so that the text is blocked."""
    found = [_span(one, text) for one in payload]
    return tuple(one for one in found if one is not None) if all(found) else ()


def _span(found: _Found, text: str) -> Span | None:
    """Return the place of a finding. Some say that `end` is exclusive, some inclusive: the text of the finding decides."""
    start, end = found.start, found.end
    if found.text is not None and text[start:end] != found.text:
        end += 1
    if not 0 <= start < end <= len(text) or found.text not in (None, text[start:end]):
        return None
    return Span(start, end, kind_of_span(found.detector_type.rpartition("/")[2]))
