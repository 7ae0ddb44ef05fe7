"""The section `auth`: how callers are recognised."""

from __future__ import annotations

import ipaddress
from typing import Any, Literal, cast

from pydantic import Field, SecretStr, field_validator
from pydantic_core import PydanticKnownError

from tidegate.config.jwt import JwtConfig
from tidegate.config.settings import Settings

SHORTEST_PEPPER = 16


class AuthConfig(Settings):
    """How callers are recognised."""

    mode: Literal["keys", "none"] | None = Field(
        default=None,
        description="`keys`: only callers with a key or a token are served. `none`: everybody who reaches the port is."
        " Default: `keys` where there are keys, a store or `jwt`; without them, this machine alone is served.",
    )
    pepper: tuple[SecretStr, ...] | None = Field(
        default=None,
        description="What keys are digested with, `${NAME}`; needed for keys given as `digest`, and for a store. To replace"
        " it, give a list: new keys are digested with the first, and those of every other stay valid.",
    )
    trusted_proxies: tuple[str, ...] = Field(
        default=(),
        description="Addresses or networks of proxies whose `X-Forwarded-For` names the client, such as `10.0.0.0/8`.",
    )
    max_stale_s: float = Field(
        default=60,
        ge=0,
        description="How long a known key stays valid while the store cannot be asked. Other keys are refused with 503.",
    )

    jwt: JwtConfig | None = Field(
        default=None, description="JSON Web Tokens of an OpenID Connect issuer, beside keys."
    )

    @field_validator("pepper", mode="before")
    @classmethod
    def _one_or_several(cls, pepper: Any) -> Any:
        if pepper is None or isinstance(pepper, list | tuple):
            return cast("Any", pepper)
        if not isinstance(pepper, str | SecretStr):
            raise PydanticKnownError("string_type")
        return (pepper,)

    @field_validator("pepper")
    @classmethod
    def _hard_to_guess(cls, peppers: tuple[SecretStr, ...] | None) -> tuple[SecretStr, ...] | None:
        texts = None if peppers is None else [pepper.get_secret_value() for pepper in peppers]
        if texts == []:
            raise ValueError("is empty: give a pepper, or leave the setting out")
        if any(len(text) < SHORTEST_PEPPER for text in texts or ()):
            raise ValueError(f"must have at least {SHORTEST_PEPPER} characters")
        if texts is not None and len(set(texts)) < len(texts):
            raise ValueError("has the same pepper twice: leave one out")
        return peppers

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"{proxy!r} is no address and no network, such as 10.0.0.0/8") from error
        return proxies
