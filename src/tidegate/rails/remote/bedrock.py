"""Amazon Bedrock Guardrails (`ApplyGuardrail`): topics, harm, words, personal data and groundedness, as configured at AWS.

The request is signed with AWS Signature Version 4, or has a Bedrock API key as a bearer token. The format is that of the
API reference: `action`, `outputs` with the masked text, `assessments` with what was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, cast
from urllib.parse import quote, urlsplit

import msgspec
from pydantic import Field, SecretStr, field_validator, model_validator

from tidegate.egress.exchange import Headers
from tidegate.ports import Services, TextViews, Wall
from tidegate.rails.asked.hazards import OTHER
from tidegate.rails.remote.proof.sigv4 import Credentials, Signable, signed
from tidegate.rails.remote.rail import ENCODER, Asked, RemoteRail, decoded, facts, objection
from tidegate.rails.remote.service import RemoteConfig, shaped
from tidegate.types import PASSED, Scene, Surface, Verdict

_NAMES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("filters", "HATE"): "hate",
        ("filters", "INSULTS"): "harassment",
        ("filters", "SEXUAL"): "sexual_content",
        ("filters", "VIOLENCE"): "violence",
        ("filters", "MISCONDUCT"): "illicit",
        ("filters", "PROMPT_ATTACK"): "injection",
        ("filters", "GROUNDING"): "ungrounded",
        ("filters", "RELEVANCE"): "off_topic",
        ("managedWordLists", "PROFANITY"): "profanity",
    }
)
"""Our categories by the list in an assessment, and the type of an entry in it."""
_LISTS: Mapping[str, str] = MappingProxyType(
    {"topics": "policy", "customWords": "policy", "piiEntities": "privacy", "regexes": "privacy"}
)
"""Lists whose entries all mean one category."""
_UNTOUCHED = frozenset({"NONE"})
_MASKED = "ANONYMIZED"


class BedrockConfig(RemoteConfig):
    """Amazon Bedrock Guardrails."""

    kind: Literal["bedrock"] = "bedrock"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    url: str = Field(
        default="", description="Base URL. Default: `https://bedrock-runtime.REGION.amazonaws.com`."
    )
    region: Annotated[str, shaped(r"[a-z0-9-]+", "eu-central-1")] = Field(
        description="Region of the guardrail.", examples=["eu-central-1"]
    )
    guardrail_id: str = Field(min_length=1, description="Id or ARN of the guardrail.")
    guardrail_version: Annotated[str, shaped(r"DRAFT|[1-9][0-9]{0,7}", "1 or DRAFT")] = Field(
        default="DRAFT",
        description="Version of the guardrail: a number, or `DRAFT`.",
    )
    api_key: SecretStr | None = Field(
        default=None, description="A Bedrock API key, sent as a bearer token, in place of the access key."
    )
    access_key_id: SecretStr | None = Field(default=None, description="Id of the access key that signs.")
    secret_access_key: SecretStr | None = Field(default=None, description="Secret of the access key.")
    session_token: SecretStr | None = Field(
        default=None, description="Token of the session, if the access key is temporary."
    )

    @field_validator("access_key_id", "secret_access_key", "session_token")
    @classmethod
    def _on_one_line(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value is not None else "x"
        if not text.strip() or not text.isprintable() or text != text.strip():
            raise ValueError("is empty, or has a line break or a blank at one of its ends")
        return value

    @model_validator(mode="before")
    @classmethod
    def _url_of_the_region(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        settings = cast("dict[str, Any]", given)
        if settings.get("url") or not isinstance(settings.get("region"), str):
            return settings
        return {**settings, "url": f"https://bedrock-runtime.{settings['region']}.amazonaws.com"}

    @model_validator(mode="after")
    def _one_way_to_prove(self) -> Self:
        keys = (self.access_key_id, self.secret_access_key)
        if (self.api_key is None) == (None in keys) or (self.api_key and any(keys)):
            raise ValueError("set either api_key, or access_key_id and secret_access_key")
        return self


class Bedrock(RemoteRail):
    """Asks a guardrail of Amazon Bedrock about texts."""

    Config: ClassVar[type[BedrockConfig]] = BedrockConfig
    about = facts("bedrock", corrects=True)

    def __init__(self, config: BedrockConfig) -> None:
        super().__init__(config)
        self._config = config
        self._path = (
            f"guardrail/{quote(config.guardrail_id, safe='')}/version/{config.guardrail_version}/apply"
        )
        parts = urlsplit(config.url)
        self._host, self._base = parts.netloc, parts.path.rstrip("/")
        self._wall: Wall

    async def open(self, services: Services) -> None:
        """See `Opened`."""
        self._wall = services.wall
        await super().open(services)

    def asks(self, views: TextViews, scene: Scene) -> Sequence[Asked]:
        """See `RemoteRail.asks`."""
        source = "OUTPUT" if scene.surface is Surface.OUTPUT else "INPUT"
        body = {"source": source, "content": [{"text": {"text": views.original}}]}
        return [Asked(self._path, ENCODER.encode(body), views.original)]

    async def headers(self, asked: Asked, scene: Scene) -> Headers:
        """See `RemoteRail.headers`."""
        del scene
        key, secret, token = (
            self._config.access_key_id,
            self._config.secret_access_key,
            self._config.session_token,
        )
        if key is None or secret is None:
            return []
        credentials = Credentials(
            key.get_secret_value(), secret.get_secret_value(), token.get_secret_value() if token else ""
        )
        request = Signable("POST", f"{self._base}/{asked.path}", {"host": self._host}, asked.body)
        added = signed(request, credentials, region=self._config.region, service="bedrock", at=self._wall())
        return [(name.encode(), value.encode()) for name, value in added.items()]

    def read(self, answer: bytes, asked: Asked) -> Verdict:
        """See `RemoteRail.read`."""
        found = decoded(answer, _DECODER)
        if found.action == "NONE":
            return PASSED
        entries = list(_entries(found.assessments))
        names = list(dict.fromkeys(name for name, _ in entries))
        # The output of a blocked text is a message to the user, which corrects nothing.
        masked = bool(entries) and all(action == _MASKED for _, action in entries)
        text = found.outputs[0].text if masked and len(found.outputs) == 1 else None
        return objection(names, text=None if text == asked.text else text)


class _Output(msgspec.Struct):
    text: str


class _Answer(msgspec.Struct):
    action: Literal["NONE", "GUARDRAIL_INTERVENED"]
    outputs: list[_Output] = []
    assessments: list[dict[str, Any]] = []


_DECODER = msgspec.json.Decoder(_Answer)


def _entries(assessments: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the category of everything that was acted on in some assessments, and the action."""
    for policy in (value for one in assessments for value in one.values()):
        lists = cast("dict[str, Any]", policy) if isinstance(policy, dict) else {}
        for name, entries in lists.items():
            if isinstance(entries, list):
                yield from _of_list(name, cast("list[Any]", entries))


def _of_list(name: str, entries: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        if isinstance(entry, dict):
            told = cast("dict[str, Any]", entry)
            action, label = str(told.get("action", "NONE")), str(told.get("type", ""))
            if action not in _UNTOUCHED:
                yield _LISTS.get(name) or _NAMES.get((name, label), OTHER), action
