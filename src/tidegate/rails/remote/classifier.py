"""A classifier such as Prompt Guard 2 on a server: vLLM, SGLang, or text-embeddings-inference.

vLLM and SGLang take `{"model", "input"}` at `/classify` and answer with `data[].probs`, the probabilities of the labels in
their order. text-embeddings-inference takes `{"inputs"}` at `/predict` and answers with labels and scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from pydantic import Field, model_validator

from tidegate.ports import TextViews
from tidegate.rails.asked.asking import NoAnswer
from tidegate.rails.guards.prompt_guard import MALICIOUS, UNTRUSTED, category_of
from tidegate.rails.remote.rail import ENCODER, USUAL_MS, Asked, RemoteRail, decoded, objection
from tidegate.rails.remote.service import RemoteConfig
from tidegate.types import RailFacts, Scene, Verdict

_OVERLAP = 8
"""A window shares an eighth of its characters with the one before."""
MOST_WINDOWS: Final = 256


class ClassifierConfig(RemoteConfig):
    """A classifier behind a URL."""

    api: Literal["vllm", "tei"] = Field(
        default="vllm",
        description="How the server is asked: `vllm` at `/classify`, as vLLM and SGLang are, or `tei` at `/predict`, as"
        " text-embeddings-inference is.",
    )
    model: str | None = Field(
        default=None, min_length=1, description="Name of the model at the server, for `vllm`."
    )
    label: str | None = Field(
        default=None,
        min_length=1,
        description="Label of malicious texts. `tei` needs it, such as `LABEL_1`, since it names labels in no order. For"
        " `vllm` the last label is the malicious one.",
    )
    threshold: float = Field(
        default=MALICIOUS, gt=0, le=1, description="Probability from which a text is malicious."
    )
    window_chars: int = Field(
        default=1500,
        ge=64,
        description="Longest part of a text that is sent at once, in characters; longer texts are sent in parts that"
        " overlap. 512 tokens of English are about 2,000 characters, and of Chinese about 500.",
    )

    @model_validator(mode="after")
    def _names(self) -> ClassifierConfig:
        if self.api == "vllm" and self.model is None:
            raise ValueError("needs the `model` that the server is asked for")
        if self.api == "tei" and self.label is None:
            raise ValueError("needs the `label` of malicious texts, such as LABEL_1")
        if self.api == "vllm" and self.label is not None:
            raise ValueError("has a `label`, which only `api: tei` needs: remove it")
        return self


class _Row(msgspec.Struct):
    probs: Annotated[list[float], msgspec.Meta(min_length=2)]


class _Rows(msgspec.Struct):
    data: Annotated[list[_Row], msgspec.Meta(min_length=1, max_length=1)]


class _Label(msgspec.Struct):
    label: str
    score: float


_ROWS = msgspec.json.Decoder(_Rows)
_LABELS = msgspec.json.Decoder(list[_Label])
_BATCH = msgspec.json.Decoder(Annotated[list[list[_Label]], msgspec.Meta(min_length=1, max_length=1)])


class RemoteClassifier(RemoteRail):
    """Asks a classifier on a server about each text."""

    Config: ClassVar[type[ClassifierConfig]] = ClassifierConfig
    about = RailFacts("classifier", "1", UNTRUSTED, tier=2, usual_ms=USUAL_MS)

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        self._of = config

    def asks(self, views: TextViews, scene: Scene) -> Sequence[Asked]:
        """See `RemoteRail.asks`."""
        parts = windows(views.original, self._of.window_chars)
        if len(parts) > MOST_WINDOWS:
            raise NoAnswer(f"the text has more than {MOST_WINDOWS} parts of `window_chars`")
        return [self._asked(part, scene) for part in parts]

    def _asked(self, text: str, scene: Scene) -> Asked:
        # A lone surrogate has no bytes in UTF-8.
        text = text.encode("utf-8", "replace").decode()
        category = category_of(scene.surface)
        if self._of.api == "tei":
            return Asked("predict", ENCODER.encode({"inputs": text}), text, category)
        return Asked("classify", ENCODER.encode({"model": self._of.model, "input": text}), text, category)

    def read(self, answer: bytes, asked: Asked) -> Verdict:
        """See `RemoteRail.read`."""
        score = self._score(answer)
        if not (math.isfinite(score) and 0 <= score <= 1):
            raise NoAnswer("the answer of the service has no probability")
        scores = ((asked.category, score),)
        if score < self._of.threshold:
            return Verdict(passed=True, score=score, scores=scores)
        return objection([asked.category], score, scores=scores)

    def _score(self, answer: bytes) -> float:
        if self._of.api == "vllm":
            return decoded(answer, _ROWS).data[0].probs[-1]
        # One text is answered with a list, and a batch of one with a list of lists.
        found = decoded(answer, _BATCH)[0] if answer.lstrip()[:2] == b"[[" else decoded(answer, _LABELS)
        scores = [one.score for one in found if one.label == self._of.label]
        if len(scores) != 1:
            raise NoAnswer("the answer of the service does not have the `label`")
        return scores[0]


def windows(text: str, chars: int) -> list[str]:
    """Return a text in parts of at most so many characters, which overlap. A blank text has none."""
    if not text.strip():
        return []
    step = chars - chars // _OVERLAP
    last = max(len(text) - chars // _OVERLAP, 1)
    return [text[at : at + chars] for at in range(0, last, step)]
