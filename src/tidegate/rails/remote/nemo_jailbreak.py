"""NemoGuard JailbreakDetect (NVIDIA): a classifier that says whether a text tries to free a model of its rules.

It judges one text at a time: `POST {url}/classify` with `{"input": TEXT}`. It says `{"jailbreak": true, "score": 0.9}`.
The format is that of NVIDIA's NIM, as NeMo Guardrails asks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from pydantic import Field

from tidegate.ports import TextViews
from tidegate.rails.remote.rail import ENCODER, Asked, RemoteRail, decoded, facts, objection
from tidegate.rails.remote.service import RemoteConfig
from tidegate.types import Scene, Surface, Verdict

_CATEGORY = "jailbreak"


class NemoJailbreakConfig(RemoteConfig):
    """NemoGuard JailbreakDetect."""

    path: str = Field(default="classify", min_length=1, description="Path of the classifier below `url`.")


class NemoJailbreak(RemoteRail):
    """Asks NemoGuard JailbreakDetect whether a text is an attempt at a jailbreak."""

    Config: ClassVar[type[NemoJailbreakConfig]] = NemoJailbreakConfig
    about = facts("nemo_jailbreak", usual={Surface.INPUT})

    def __init__(self, config: NemoJailbreakConfig) -> None:
        super().__init__(config)
        self._path = config.path.lstrip("/")

    def asks(self, views: TextViews, scene: Scene) -> Sequence[Asked]:
        """See `RemoteRail.asks`."""
        del scene
        return [Asked(self._path, ENCODER.encode({"input": views.original}), views.original)]

    def read(self, answer: bytes, asked: Asked) -> Verdict:
        """See `RemoteRail.read`. The service itself decides: its score may be negative, and has no fixed meaning."""
        del asked
        found = decoded(answer, _DECODER)
        sure = float(found.jailbreak) if found.score is None else min(max(found.score, 0.0), 1.0)
        scores = ((_CATEGORY, sure),)
        if not found.jailbreak:
            return Verdict(True, score=sure, scores=scores)
        return objection([_CATEGORY], sure, scores=scores)


class _Answer(msgspec.Struct):
    jailbreak: bool
    score: float | None = None


_DECODER = msgspec.json.Decoder(_Answer)
