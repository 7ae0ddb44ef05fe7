"""A service of the operator's own, or of anyone: the rail is described in the configuration, without code.

The request is a JSON document whose texts may have placeholders. What stands for them is data: it is put into the text of
one value, and is not searched for placeholders itself. JSON pointers say where in the answer the verdict stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Literal, Self, cast

import msgspec
from pydantic import Field, field_validator, model_validator

from tidegate.config.settings import Settings
from tidegate.ports import TextViews
from tidegate.rails.asked.asking import NoAnswer
from tidegate.rails.asked.hazards import OTHER, HazardName
from tidegate.rails.remote.pointer import NotThere, Pointer
from tidegate.rails.remote.rail import (
    ENCODER,
    Asked,
    RemoteRail,
    decoded,
    facts,
    kind_of_span,
    named,
    objection,
)
from tidegate.rails.remote.service import RemoteConfig
from tidegate.types import Scene, Span, Verdict

Value = str | bool | int | float | None
PLACEHOLDERS = ("text", "question", "role", "surface")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")


def _is_pointer(source: str | None) -> str | None:
    if source is not None:
        Pointer(source)
    return source


class SaysConfig(Settings):
    """Where the verdict stands in an answer, and what it means. Any other value is an error of the rail."""

    at: str = Field(description="JSON pointer of the value.", examples=["/result/label"])
    unsafe: tuple[Value, ...] = Field(
        min_length=1,
        description="Values that mean that the text is unsafe, such as `true` or `[unsafe, blocked]`.",
    )
    safe: tuple[Value, ...] = Field(min_length=1, description="Values that mean that the text is safe.")

    _pointer = field_validator("at")(_is_pointer)

    @field_validator("unsafe", "safe", mode="before")
    @classmethod
    def _one_or_more(cls, given: Any) -> Any:
        return cast("Sequence[Any]", given) if isinstance(given, list | tuple) else [given]

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if {*map(_exactly, self.unsafe)} & {*map(_exactly, self.safe)}:
            raise ValueError("has a value that means both safe and unsafe")
        return self


class ScoreConfig(Settings):
    """Where the score stands, a number from 0 to 1."""

    at: str = Field(description="JSON pointer of the number.", examples=["/result/score"])
    threshold: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Score from which a text is unsafe. Default: the score is only told.",
    )

    _pointer = field_validator("at")(_is_pointer)


class LabelsConfig(Settings):
    """Where the categories stand: a text, a list of texts, or an object whose members are true or false."""

    at: str = Field(description="JSON pointer of the categories.", examples=["/result/categories"])
    names: Mapping[str, HazardName] = Field(
        default={}, description="Our categories by the service's; one that is not listed is `other`."
    )

    _pointer = field_validator("at")(_is_pointer)


class SpansConfig(Settings):
    """Where the list of places in the text stands. Places are in characters, without the one at `end`."""

    at: str = Field(description="JSON pointer of the list.", examples=["/entities"])
    start: str = Field(
        default="/start", description="JSON pointer of the first character, from an item of the list."
    )
    end: str = Field(
        default="/end", description="JSON pointer of the character behind the last one, from an item."
    )
    type: str | None = Field(
        default=None,
        description="JSON pointer of the type, which becomes the mask, from an item. Default: `FOUND`.",
    )

    _pointers = field_validator("at", "start", "end", "type")(_is_pointer)


class HttpConfig(RemoteConfig):
    """A service of your own."""

    kind: Literal["http"] = "http"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    method: Literal["POST", "PUT"] = Field(default="POST", description="Method of the request.")
    path: str = Field(
        default="", description="Path below `url`, with a query if there is one.", examples=["/v1/check"]
    )
    request: Any = Field(
        description="The body: a JSON document. `{text}` in its texts is replaced by the text that is checked, `{question}`"
        " by the user's question, `{role}` by the role of the message, and `{surface}` by where the text comes from.",
        examples=['{"input": "{text}"}'],
    )
    verdict: SaysConfig | None = Field(default=None, description="Where the verdict stands.")
    score: ScoreConfig | None = Field(default=None, description="Where a score stands.")
    categories: LabelsConfig | None = Field(default=None, description="Where categories stand.")
    spans: SpansConfig | None = Field(
        default=None, description="Where places in the text stand, for `on_fail: redact`."
    )
    corrected: str | None = Field(
        default=None, description="JSON pointer of the corrected text, for `on_fail: fix`."
    )

    _pointer = field_validator("corrected")(_is_pointer)

    @field_validator("path")
    @classmethod
    def _path_usable(cls, path: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*", path) or "://" in path:
            raise ValueError("must be a path below `url`, such as /v1/check?full=true")
        return path

    @field_validator("request")
    @classmethod
    def _template(cls, request: Any) -> Any:
        found = list(_placeholders(request))
        for name in found:
            if name not in PLACEHOLDERS:
                raise ValueError(
                    f"has {{{name}}}; there are: {', '.join(f'{{{one}}}' for one in PLACEHOLDERS)}"
                )
        if "text" not in found:
            raise ValueError("has no {text}, so the service would not see the text that is checked")
        return request

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.verdict is None and (self.score is None or self.score.threshold is None):
            raise ValueError("needs `verdict`, or `score` with a `threshold`, to tell safe from unsafe")
        return self


class Http(RemoteRail):
    """Asks a service that the configuration describes."""

    Config: ClassVar[type[HttpConfig]] = HttpConfig
    about = facts("http", finds_spans=True, corrects=True)

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.method = config.method
        self.about = msgspec.structs.replace(
            self.about, finds_spans=config.spans is not None, corrects=config.corrected is not None
        )
        self._config = config
        self._path = config.path.lstrip("/")

    def asks(self, views: TextViews, scene: Scene) -> Sequence[Asked]:
        """See `RemoteRail.asks`."""
        values = {
            "text": views.original,
            "question": scene.question,
            "role": scene.role,
            "surface": scene.surface.value,
        }
        body = ENCODER.encode(filled(self._config.request, values))
        return [Asked(self._path, body, views.original)]

    def read(self, answer: bytes, asked: Asked) -> Verdict:
        """See `RemoteRail.read`."""
        document = decoded(answer, _DECODER)
        score = self._score(document)
        unsafe = self._unsafe(document, score)
        if not unsafe:
            return Verdict(True, score=score or 0.0)
        return objection(
            self._names(document),
            1.0 if score is None else score,
            spans=self._spans(document, asked.text),
            text=self._corrected(document),
        )

    # The text is unsafe already. What cannot be read of the rest is left out, so that the text is blocked.

    def _names(self, document: Any) -> list[str]:
        config = self._config.categories
        if config is None:
            return []
        try:
            return named(_labels(config, document), config.names)
        except NoAnswer:
            return [OTHER]

    def _spans(self, document: Any, text: str) -> tuple[Span, ...]:
        config = self._config.spans
        with suppress(NoAnswer):
            return _spans(config, document, text) if config is not None else ()
        return ()

    def _corrected(self, document: Any) -> str | None:
        source = self._config.corrected
        with suppress(NoAnswer):
            return _text(source, document) if source is not None else None
        return None

    def _score(self, document: Any) -> float | None:
        if self._config.score is None:
            return None
        score = _at(self._config.score.at, document)
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise NoAnswer("the answer of the service has no number from 0 to 1 at `score.at`")
        return float(score)

    def _unsafe(self, document: Any, score: float | None) -> bool:
        config = self._config
        high = score is not None and config.score is not None and config.score.threshold is not None
        over = (
            high and score is not None and score >= cast("float", cast("ScoreConfig", config.score).threshold)
        )
        if config.verdict is None:
            return over
        told = _exactly(_at(config.verdict.at, document))
        if told in {*map(_exactly, config.verdict.unsafe)}:
            return True
        if told in {*map(_exactly, config.verdict.safe)}:
            return over
        raise NoAnswer("the value at `verdict.at` is neither one of `unsafe` nor of `safe`")


_DECODER = msgspec.json.Decoder(Any)


def filled(template: Any, values: Mapping[str, str]) -> Any:
    """Return a document whose placeholders are replaced. What replaces them is not searched again."""
    if isinstance(template, str):
        return _PLACEHOLDER.sub(lambda found: values[found[1]], template)
    if isinstance(template, dict):
        members = cast("dict[str, Any]", template)
        return {name: filled(value, values) for name, value in members.items()}
    if isinstance(template, list | tuple):
        return [filled(value, values) for value in cast("Sequence[Any]", template)]
    return template


def _placeholders(template: Any) -> Sequence[str]:
    if isinstance(template, str):
        return _PLACEHOLDER.findall(template)
    parts: Sequence[Any] = ()
    if isinstance(template, dict):
        parts = list(cast("dict[str, Any]", template).values())
    elif isinstance(template, list | tuple):
        parts = cast("Sequence[Any]", template)
    return [name for part in parts for name in _placeholders(part)]


def _exactly(value: Any) -> tuple[str, Any]:
    """Return a value with its type: true is not 1, while 1 is 1.0."""
    if isinstance(value, bool) or value is None:
        return type(value).__name__, value
    if isinstance(value, int | float):
        return "number", float(value) if abs(value) < 2**53 else str(value)
    if isinstance(value, str):
        return "text", value
    raise NoAnswer("the value at `verdict.at` is an object or a list")


def _at(source: str, document: Any) -> Any:
    try:
        return Pointer(source).of(document)
    except NotThere as error:
        raise NoAnswer(f"the answer of the service has nothing at {source or 'its root'}") from error


def _labels(config: LabelsConfig, document: Any) -> list[str]:
    found = _at(config.at, document)
    if isinstance(found, str):
        return [found]
    if isinstance(found, dict):
        members = cast("dict[str, Any]", found)
        if all(isinstance(value, bool) for value in members.values()):
            return [name for name, value in members.items() if value]
    elif isinstance(found, list):
        labels = cast("list[Any]", found)
        if all(isinstance(one, str) for one in labels):
            return labels
    raise NoAnswer(
        "the value at `categories.at` is no text, no list of texts and no object of true and false"
    )


def _spans(config: SpansConfig, document: Any, text: str) -> tuple[Span, ...]:
    found = _at(config.at, document)
    if not isinstance(found, list):
        raise NoAnswer("the value at `spans.at` is not a list")
    return tuple(_span(config, one, len(text)) for one in cast("list[Any]", found))


def _span(config: SpansConfig, item: Any, length: int) -> Span:
    start, end = _at(config.start, item), _at(config.end, item)
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
        raise NoAnswer("the service found something outside of the text")
    label = "" if config.type is None else _at(config.type, item)
    return Span(start, end, kind_of_span(label if isinstance(label, str) else ""))


def _text(source: str, document: Any) -> str:
    found = _at(source, document)
    if not isinstance(found, str):
        raise NoAnswer("the value at `corrected` is not a text")
    return found
