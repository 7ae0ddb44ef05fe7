"""The section `auth`: how callers are recognised."""

from __future__ import annotations

import ipaddress
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from tidegate.config.jwt import JwtConfig
from tidegate.config.settings import Settings

SHORTEST_PEPPER = 16


class AuthConfig(Settings):
    """How callers are recognised."""

    mode: Literal["keys", "none"] | None = Field(
        default=None,
        description="`keys`: only callers with a key or a token are served. `none`: everybody who reaches the port is."
        " Default: `keys` where there are keys or `jwt`; without both, this machine alone is served.",
    )
    pepper: SecretStr | None = Field(
        default=None, description="What keys are digested with, `${NAME}`; needed for keys given as `digest`."
    )
    trusted_proxies: tuple[str, ...] = Field(
        default=(),
        description="Addresses or networks of proxies whose `X-Forwarded-For` names the client, such as `10.0.0.0/8`.",
    )
    max_stale_s: float = Field(
        default=60, ge=0, description="How long a known key stays valid while the store cannot be asked."
    )

    jwt: JwtConfig | None = Field(
        default=None, description="JSON Web Tokens of an OpenID Connect issuer, beside keys."
    )

    @field_validator("pepper")
    @classmethod
    def _hard_to_guess(cls, pepper: SecretStr | None) -> SecretStr | None:
        if pepper is not None and len(pepper.get_secret_value()) < SHORTEST_PEPPER:
            raise ValueError(f"must have at least {SHORTEST_PEPPER} characters")
        return pepper

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"{proxy!r} is no address and no network, such as 10.0.0.0/8") from error
        return proxies
