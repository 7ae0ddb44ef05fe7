"""Azure AI Content Safety: prompt shields (`text:shieldPrompt`) and the analysis of texts (`text:analyze`).

Prompt shields tell attacks of users, and those in documents; the analysis tells four kinds of harm, each with a severity
from 0 to 7. Both take at most 10,000 characters, so longer texts are asked about in pieces that overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec
from pydantic import Field, model_validator

from tidegate.egress.exchange import Headers
from tidegate.ports import TextViews
from tidegate.rails.asked.asking import NoAnswer
from tidegate.rails.asked.hazards import OTHER, HazardName
from tidegate.rails.remote.rail import ENCODER, Asked, RemoteRail, decoded, facts, objection
from tidegate.rails.remote.service import RemoteConfig, further_headers, shaped
from tidegate.types import PASSED, Scene, Surface, Verdict

_NAMES: Mapping[str, str] = MappingProxyType(
    {"hate": "hate", "selfharm": "self_harm", "sexual": "sexual_content", "violence": "violence"}
)
_WORST = 7
_MOST_CHARS = 10_000
_OVERLAP = 500
_MOST_PIECES = 32
_DOCUMENTS = frozenset({Surface.RETRIEVAL, Surface.TOOL})
_BY_USER, _IN_DOCUMENT = "jailbreak", "injection"
"""What an attack is called: users try to jailbreak, and documents to inject."""


class AzureContentSafetyConfig(RemoteConfig):
    """Azure AI Content Safety."""

    kind: Literal["azure_content_safety"] = "azure_content_safety"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    url: str = Field(
        description="Endpoint of the resource, without `/contentsafety`.",
        examples=["https://NAME.cognitiveservices.azure.com"],
    )
    api_version: Annotated[str, shaped(r"\d{4}-\d\d-\d\d(-preview)?", "2024-09-01")] = Field(
        default="2024-09-01",
        description="Version of the API, the query parameter `api-version`.",
    )
    shields: bool = Field(
        default=True,
        description="Whether texts that are not answers are checked for attacks (prompt shields).",
    )
    analyze: bool = Field(default=True, description="Whether texts are checked for harm (text analysis).")
    severity: int = Field(
        default=4, ge=1, le=7, description="Severity from which a text counts as harmful, from 1 to 7."
    )
    severities: Mapping[HazardName, Annotated[int, Field(ge=1, le=7)]] = Field(
        default={},
        description="Severities of single categories, such as `self_harm: 2`. There are `hate`, `self_harm`,"
        " `sexual_content` and `violence`.",
    )
    blocklists: tuple[str, ...] = Field(
        default=(), description="Blocklists of the resource that the analysis uses, by name."
    )

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not (self.shields or self.analyze):
            raise ValueError("has `shields: false` and `analyze: false`: set one of them to true")
        if self.blocklists and not self.analyze:
            raise ValueError("has `blocklists`, which belong to the analysis: set `analyze: true`")
        for name in self.severities:
            if name not in _NAMES.values():
                raise ValueError(
                    f"severities has '{name}', which the service does not tell: it tells"
                    f" {', '.join(_NAMES.values())}"
                )
        return self


class AzureContentSafety(RemoteRail):
    """Asks Azure AI Content Safety about attacks and harm."""

    Config: ClassVar[type[AzureContentSafetyConfig]] = AzureContentSafetyConfig
    about = facts("azure_content_safety")

    def __init__(self, config: AzureContentSafetyConfig) -> None:
        super().__init__(config, _headers(config))
        self._config = config
        if not config.analyze:
            self.about = msgspec.structs.replace(
                self.about,
                surfaces=self.about.surfaces - {Surface.OUTPUT},
                usual=frozenset({Surface.INPUT, *_DOCUMENTS}),
            )
        elif config.shields:
            self.about = msgspec.structs.replace(self.about, usual=self.about.usual | _DOCUMENTS)

    def asks(self, views: TextViews, scene: Scene) -> Sequence[Asked]:
        """See `RemoteRail.asks`."""
        pieces = _pieces(views.original)
        asked: list[Asked] = []
        if self._config.shields and scene.surface is not Surface.OUTPUT:
            asked += [self._shield(piece, scene) for piece in pieces]
        if self._config.analyze:
            asked += [self._analysis(piece) for piece in pieces]
        return asked

    def _shield(self, piece: str, scene: Scene) -> Asked:
        is_document = scene.surface in _DOCUMENTS
        body = {"userPrompt": "" if is_document else piece, "documents": [piece] if is_document else []}
        return self._asked("shieldPrompt", body, piece, _IN_DOCUMENT if is_document else _BY_USER)

    def _analysis(self, piece: str) -> Asked:
        body: dict[str, Any] = {"text": piece, "outputType": "EightSeverityLevels"}
        if self._config.blocklists:
            body |= {"blocklistNames": self._config.blocklists, "haltOnBlocklistHit": False}
        return self._asked("analyze", body, piece)

    def _asked(self, what: str, body: Mapping[str, Any], piece: str, category: str = "") -> Asked:
        path = f"contentsafety/text:{what}?api-version={self._config.api_version}"
        return Asked(path, ENCODER.encode(body), piece, category)

    def read(self, answer: bytes, asked: Asked) -> Verdict:
        """See `RemoteRail.read`."""
        if asked.category:
            return _shielded(answer, asked.category)
        found = decoded(answer, _ANALYSIS)
        if not found.categoriesAnalysis:
            raise NoAnswer("the service answered without a category")
        severities: dict[str, int] = {}
        for one in found.categoriesAnalysis:
            name = _NAMES.get(one.category.lower(), OTHER)
            severities[name] = max(one.severity, severities.get(name, 0))
        scores = tuple((name, severity / _WORST) for name, severity in severities.items() if name != OTHER)
        highest = max(severities.values()) / _WORST
        unsafe = sorted(
            (name for name, severity in severities.items() if severity >= self._limit(name)),
            key=lambda name: -severities[name],
        )
        if found.blocklistsMatch:
            unsafe.append("policy")
        return (
            objection(unsafe, highest, scores=scores)
            if unsafe
            else Verdict(True, score=highest, scores=scores)
        )

    def _limit(self, name: str) -> int:
        return self._config.severities.get(name, self._config.severity)


class _Attack(msgspec.Struct):
    attackDetected: bool  # noqa: N815 - the service's names


class _Shield(msgspec.Struct):
    userPromptAnalysis: _Attack | None = None  # noqa: N815
    documentsAnalysis: list[_Attack] | None = None  # noqa: N815


class _Category(msgspec.Struct):
    category: str
    severity: Annotated[int, msgspec.Meta(ge=0, le=_WORST)]


class _Analysis(msgspec.Struct):
    categoriesAnalysis: list[_Category]  # noqa: N815
    blocklistsMatch: list[Any] | None = None  # noqa: N815


_SHIELD = msgspec.json.Decoder(_Shield)
_ANALYSIS = msgspec.json.Decoder(_Analysis)


def _shielded(answer: bytes, category: str) -> Verdict:
    """Return the verdict on the one text that was shown to the shields."""
    found = decoded(answer, _SHIELD)
    if category == _IN_DOCUMENT:
        if found.documentsAnalysis is None or len(found.documentsAnalysis) != 1:
            raise NoAnswer("the service answered without an analysis of the document")
        attack = found.documentsAnalysis[0].attackDetected
    elif found.userPromptAnalysis is None:
        raise NoAnswer("the service answered without an analysis of the prompt")
    else:
        attack = found.userPromptAnalysis.attackDetected
    return objection([category]) if attack else PASSED


def _headers(config: AzureContentSafetyConfig) -> Headers:
    headers = further_headers(config)
    if config.api_key is not None:
        headers.append((b"ocp-apim-subscription-key", config.api_key.get_secret_value().encode()))
    return headers


def _pieces(text: str) -> list[str]:
    """Return a text in pieces that the service takes. Raises NoAnswer for one that would be too many of them."""
    # Some services count characters beyond the basic plane twice.
    most = _MOST_CHARS if text.isascii() else _MOST_CHARS // 2
    step = most - _OVERLAP
    pieces = [text[at : at + most] for at in range(0, max(1, len(text) - _OVERLAP), step)]
    if len(pieces) > _MOST_PIECES:
        raise NoAnswer(f"the text has more than {_MOST_PIECES * step} characters, which takes too many calls")
    return pieces
