"""The sections `organisations` and `keys`: who calls, and how callers show who they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from tidegate.config.policies import Pattern
from tidegate.config.settings import Name, Settings

SHORTEST_SECRET = 16
_DIGEST = re.compile(r"[0-9a-f]{64}")

TenantNames = tuple[str, str, str]
"""An organisation, a team and a user; the lower ones are empty for a tenant above them."""
ScopeName = Literal["inference", "checks", "admin:read", "admin:write", "review", "metrics"]


class UserConfig(Settings):
    """A user of a team."""

    policy: str | None = Field(default=None, description="Name of a policy.")


class TeamConfig(Settings):
    """A team of an organisation."""

    policy: str | None = Field(default=None, description="Name of a policy.")
    users: Mapping[Name, UserConfig] = Field(default={}, description="The team's users, by name.")


class OrganisationConfig(Settings):
    """An organisation: the top of the tenants."""

    policy: str | None = Field(default=None, description="Name of a policy.")
    teams: Mapping[Name, TeamConfig] = Field(default={}, description="The organisation's teams, by name.")


def tenants_of(organisations: Mapping[str, OrganisationConfig]) -> Iterator[tuple[TenantNames, str]]:
    """Yield every tenant of a configuration, and the policy that it names; "" if it names none."""
    for organisation, settings in organisations.items():
        yield (organisation, "", ""), settings.policy or ""
        for team, members in settings.teams.items():
            yield (organisation, team, ""), members.policy or ""
            for user, own in members.users.items():
                yield (organisation, team, user), own.policy or ""


class KeyConfig(Settings):
    """An API key. It is given as its `secret` or as the `digest` of that."""

    secret: SecretStr | None = Field(
        default=None,
        description=f"What the client sends, `${{NAME}}`: at least {SHORTEST_SECRET} characters.",
    )
    digest: str | None = Field(
        default=None,
        description="HMAC-SHA256 of what the client sends under `auth.pepper`, as 64 hex digits.",
    )
    organisation: str | None = Field(default=None, description="Name of an organisation.")
    team: str | None = Field(default=None, description="Name of a team of that organisation.")
    user: str | None = Field(default=None, description="Name of a user of that team.")
    policy: str | None = Field(default=None, description="Name of a policy, for this key alone.")
    models: tuple[Pattern, ...] | None = Field(
        default=None, description="Which of the models that the policy allows; default: all of them."
    )
    scopes: tuple[ScopeName, ...] = Field(default=("inference",), description="What the key may do.")
    expires_at: datetime | None = Field(
        default=None,
        description="From when on it is refused, such as `2027-01-31T00:00:00Z`; UTC without a zone.",
    )

    @field_validator("secret")
    @classmethod
    def _hard_to_guess(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is None:
            return None
        text = secret.get_secret_value()
        if len(text) < SHORTEST_SECRET:
            raise ValueError(f"must have at least {SHORTEST_SECRET} characters")
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise ValueError("may only have characters that a header can carry: ASCII without spaces")
        return secret

    @field_validator("digest")
    @classmethod
    def _hex(cls, digest: str | None) -> str | None:
        if digest is not None and not _DIGEST.fullmatch(digest.lower()):
            raise ValueError("must be 64 hex digits, the HMAC-SHA256 of the key")
        return digest and digest.lower()

    @field_validator("expires_at")
    @classmethod
    def _in_a_zone(cls, at: datetime | None) -> datetime | None:
        return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.secret is None) == (self.digest is None):
            raise ValueError("must have a secret or a digest, and not both")
        return self
