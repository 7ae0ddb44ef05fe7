"""Google Cloud Model Armor (`:sanitizeUserPrompt`, `:sanitizeModelResponse`): injections, harm, URIs and sensitive data.

The template at Google says which filters run. The format is that of the REST reference, version 1. A filter that was
skipped or failed has not checked the text, so what the others say is not enough for it to pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import msgspec
from pydantic import Field, SecretStr, model_validator

from tidegate.config import files
from tidegate.egress.exchange import Headers
from tidegate.ports import Services, TextViews
from tidegate.rails.asked.asking import NoAnswer
from tidegate.rails.asked.hazards import OTHER
from tidegate.rails.remote.proof.google import GoogleToken
from tidegate.rails.remote.rail import ENCODER, Asked, RemoteRail, decoded, facts, objection
from tidegate.rails.remote.service import RemoteConfig, shaped
from tidegate.types import Scene, Surface, Verdict

_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "csam": "child_exploitation",
        "malicious_uris": "malware",
        "virus_scan": "malware",
        "pi_and_jailbreak": "injection",
        "sdp": "privacy",
        "sexually_explicit": "sexual_content",
        "hate_speech": "hate",
        "harassment": "harassment",
        "dangerous": "illicit",
    }
)
"""Our categories by the name of a filter, or of one of its types."""
_RAI = "rai"
_SDP = "sdp"
_MATCH = "MATCH_FOUND"
_TEMPLATE = r"projects/[^/\s]+/locations/[a-z0-9-]+/templates/[^/\s:]+"


class ModelArmorConfig(RemoteConfig):
    """Google Cloud Model Armor."""

    kind: Literal["model_armor"] = "model_armor"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    url: str = Field(
        default="", description="Base URL. Default: `https://modelarmor.LOCATION.rep.googleapis.com`."
    )
    template: Annotated[str, shaped(_TEMPLATE, "projects/PROJECT/locations/LOCATION/templates/NAME")] = Field(
        description="Name of the template.",
        examples=["projects/PROJECT/locations/europe-west4/templates/NAME"],
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="An access token, sent as a bearer token. Google's expire after an hour: use `service_account_path`.",
    )
    service_account_path: Path | None = Field(
        default=None,
        description="JSON file of the key of a service account, whose access tokens the gateway fetches and renews.",
    )

    @model_validator(mode="before")
    @classmethod
    def _url_of_the_location(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        settings = cast("dict[str, Any]", given)
        parts = str(settings.get("template", "")).split("/")
        if settings.get("url") or len(parts) < 4:
            return settings
        return {**settings, "url": f"https://modelarmor.{parts[3]}.rep.googleapis.com"}

    @model_validator(mode="after")
    def _one_way_to_prove(self) -> Self:
        if (self.api_key is None) == (self.service_account_path is None):
            raise ValueError("set either service_account_path or api_key")
        if self.service_account_path is not None:
            files.check_file(self.service_account_path)
        return self


class ModelArmor(RemoteRail):
    """Asks a template of Google Cloud Model Armor about texts."""

    Config: ClassVar[type[ModelArmorConfig]] = ModelArmorConfig
    about = facts("model_armor", corrects=True)

    def __init__(self, config: ModelArmorConfig) -> None:
        super().__init__(config)
        self._template = config.template
        self._token = (
            GoogleToken(config, config.service_account_path) if config.service_account_path else None
        )

    async def open(self, services: Services) -> None:
        """See `Opened`."""
        await super().open(services)
        if self._token is not None:
            await self._token.open(services)

    async def close(self) -> None:
        """See `Opened`."""
        if self._token is not None:
            await self._token.close()
        await super().close()

    def asks(self, views: TextViews, scene: Scene) -> Sequence[Asked]:
        """See `RemoteRail.asks`."""
        body: dict[str, Any]
        if scene.surface is Surface.OUTPUT:
            method, body = "sanitizeModelResponse", {"modelResponseData": {"text": views.original}}
            if scene.question:
                body["userPrompt"] = scene.question
        else:
            method, body = "sanitizeUserPrompt", {"userPromptData": {"text": views.original}}
        return [Asked(f"v1/{self._template}:{method}", ENCODER.encode(body), views.original)]

    async def headers(self, asked: Asked, scene: Scene) -> Headers:
        """See `RemoteRail.headers`."""
        del asked
        if self._token is None:
            return []
        return [(b"authorization", b"Bearer " + (await self._token.current(scene)).encode())]

    def read(self, answer: bytes, asked: Asked) -> Verdict:
        """See `RemoteRail.read`."""
        del asked
        result = decoded(answer, _DECODER).sanitizationResult
        matched = [name for name, one in result.filterResults.items() if _MATCH in _states(one)]
        if matched or result.filterMatchState == _MATCH:
            names = [each for name in matched for each in _categories(name, result.filterResults[name])]
            # What is masked is only the sensitive data, so the text is corrected only if nothing else was found.
            text = _masked(result.filterResults[_SDP]) if matched == [_SDP] else None
            return objection(list(dict.fromkeys(names)), text=text)
        if not result.filterResults:
            raise NoAnswer("no filter of the service has checked the text: switch some on in the template")
        if result.invocationResult != "SUCCESS":
            raise NoAnswer("filters of the service have failed")
        if any("EXECUTION_SKIPPED" in _states(one) for one in result.filterResults.values()):
            raise NoAnswer(
                "a filter of the service was skipped, as happens with texts that are too long for it"
            )
        return Verdict(True)


class _Result(msgspec.Struct):
    filterMatchState: Literal["MATCH_FOUND", "NO_MATCH_FOUND"]  # noqa: N815 - the service's names
    filterResults: dict[str, dict[str, Any]]  # noqa: N815
    invocationResult: Literal["SUCCESS", "PARTIAL", "FAILURE"]  # noqa: N815


class _Answer(msgspec.Struct):
    sanitizationResult: _Result  # noqa: N815


_DECODER = msgspec.json.Decoder(_Answer)


def _states(found: Any) -> frozenset[str]:
    """Return all states in the result of a filter, those of its parts included."""
    if isinstance(found, dict):
        members = cast("dict[str, Any]", found)
        own = {str(value) for name, value in members.items() if name in ("matchState", "executionState")}
        return frozenset(own).union(*(_states(value) for value in members.values()))
    return frozenset()


def _categories(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    """Yield our categories of a filter that matched; for the one of responsible AI those of its types."""
    types = _member(found, "raiFilterResult", "raiFilterTypeResults") if name == _RAI else None
    if not isinstance(types, dict):
        yield _NAMES.get(name, OTHER)
        return
    for kind, one in cast("dict[str, Any]", types).items():
        if _MATCH in _states(one):
            yield _NAMES.get(kind, OTHER)


def _masked(found: Mapping[str, Any]) -> str | None:
    """Return the text without its sensitive data, if the template masks them."""
    text = _member(found, "sdpFilterResult", "deidentifyResult", "data", "text")
    return text if isinstance(text, str) else None


def _member(found: Any, *names: str) -> Any:
    for name in names:
        found = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
    return found
