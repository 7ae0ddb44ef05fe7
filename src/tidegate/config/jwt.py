"""The section `auth.jwt`: whose tokens are accepted, and what their claims say about a caller."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from tidegate.config import urls
from tidegate.config.files import check_certificates
from tidegate.config.settings import Settings, not_empty
from tidegate.config.tenants import ScopeName

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""The algorithms that may be configured (RFC 7518, 3.1; RFC 8037, 3.1; RFC 9864, 2.2). Each has a key pair."""
_LISTED = ", ".join(ALGORITHMS)
_LONGEST = 256


def _path(path: str) -> str:
    if len(not_empty(path, "name a claim, such as sub or realm_access.roles")) > _LONGEST:
        raise ValueError(f"has more than {_LONGEST} characters")
    return path


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


ClaimPath = Annotated[str, AfterValidator(_path)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class ClaimsConfig(Settings):
    """Where a token says who calls: each setting is the name of a claim, or a path such as `realm_access.roles`."""

    organisation: ClaimPath | None = Field(
        default=None,
        description="Claim with the organisation. A token without it is refused, as with the next three.",
    )
    team: ClaimPath | None = Field(default=None, description="Claim with the team of that organisation.")
    user: ClaimPath = Field(default="sub", description="Claim with the user.")
    policy: ClaimPath | None = Field(
        default=None,
        description="Claim with the name of a policy. Default: the policy of the user, the team or the organisation, else"
        " `default`.",
    )
    scopes: ClaimPath | None = Field(
        default=None,
        description="Claim with a list, or a text of words, for `scopes_by_value`. Default: every token has the scope"
        " `inference` and no other.",
    )
    scopes_by_value: Mapping[str, tuple[ScopeName, ...]] = Field(
        default={}, description="What a value in the claim `scopes` permits; other values permit nothing."
    )
    models: ClaimPath | None = Field(
        default=None,
        description="Claim with a list, or a text of words: which of the models that the policy allows, none where a"
        " token lacks the claim. Default: all of them.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.scopes is not None and not self.scopes_by_value:
            raise ValueError("scopes needs scopes_by_value, such as {llm-user: [inference]}")
        if self.scopes is None and self.scopes_by_value:
            raise ValueError("scopes_by_value needs scopes, the claim with these values")
        if self.team is not None and self.organisation is None:
            raise ValueError("team needs organisation: name the claim with that too")
        return self


class JwtConfig(Settings):
    """Whose tokens are accepted. A token is a signed JSON Web Token (RFC 7519) and is sent like a key."""

    issuer: str = Field(
        description="The claim `iss` of a token, exactly.", examples=["https://id.example.com/realms/acme"]
    )
    audience: Texts = Field(
        description="A text or a list: the claim `aud` of a token has to have one of these.",
    )
    jwks_url: str | None = Field(
        default=None,
        description="Where the issuer's keys are. Default: what `<issuer>/.well-known/openid-configuration` says. `http://`"
        " is accepted for this machine alone.",
    )
    ca_path: Path | None = Field(
        default=None,
        description="PEM file of a certificate authority to trust in addition to the system's, for the issuer.",
    )
    algorithms: tuple[str, ...] = Field(
        default=("RS256", "PS256", "ES256", "EdDSA", "Ed25519"),
        description=f"Accepted signatures: {_LISTED}.",
    )
    leeway_s: int = Field(
        default=30, ge=0, le=300, description="How far the issuer's clock and this one may differ."
    )
    max_token_age_s: int = Field(
        default=172_800,
        gt=0,
        description="Longest life of a token, from `iat` to `exp`; without `iat`, from now. A token with a longer one is"
        " refused.",
    )
    max_stale_s: int = Field(
        default=3600,
        ge=0,
        le=604_800,
        description="How long the issuer's keys stay in use while the issuer does not answer. They are fetched every"
        " 300 s.",
    )
    require: Mapping[str, Texts] = Field(
        default={},
        description="Claims that a token must have, by path, each with the accepted texts. A list must have one of them.",
    )
    claims: ClaimsConfig = Field(default=ClaimsConfig(), description="Where a token says who calls.")

    @field_validator("issuer")
    @classmethod
    def _named(cls, issuer: str) -> str:
        return not_empty(issuer, "give the claim iss of the tokens")

    @field_validator("audience")
    @classmethod
    def _for_somebody(cls, audience: tuple[str, ...]) -> tuple[str, ...]:
        if not audience or not all(one.strip() for one in audience):
            raise ValueError("is empty: name what the tokens for this gateway have as aud")
        return audience

    @field_validator("jwks_url")
    @classmethod
    def _trusted(cls, url: str | None) -> str | None:
        return url and urls.check_trusted(url)

    @field_validator("ca_path")
    @classmethod
    def _certificates(cls, path: Path | None) -> Path | None:
        return path and check_certificates(path)

    @field_validator("algorithms")
    @classmethod
    def _asymmetric(cls, algorithms: tuple[str, ...]) -> tuple[str, ...]:
        if not algorithms:
            raise ValueError(f"is empty: name some of {_LISTED}")
        for name in algorithms:
            if name not in ALGORITHMS:
                raise ValueError(f"{_why_not(name)}; there are: {_LISTED}")
        return algorithms

    @field_validator("require")
    @classmethod
    def _required(cls, require: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        for path, texts in require.items():
            _path(path)
            if not texts:
                raise ValueError(f"'{path}' accepts no text, so every token would be refused: name one")
        return require

    @model_validator(mode="after")
    def _found(self) -> Self:
        if self.jwks_url is None:
            try:
                urls.check_trusted(self.issuer)
            except ValueError as error:
                raise ValueError(f"issuer {error}; or give jwks_url") from error
            if "?" in self.issuer:
                raise ValueError("issuer has a query, so its keys cannot be looked up: give jwks_url")
        return self


def _why_not(name: str) -> str:
    if name.lower() == "none":
        return f"'{name}' means without a signature: everybody could make such a token"
    if name.upper().startswith("HS"):
        return f"'{name}' signs with a secret that the gateway would have to share: everybody who knows it could sign"
    return f"'{name}' is not supported"
