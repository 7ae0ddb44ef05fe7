"""The whole file: one tree of frozen models, each section in a file of its own beside this one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import Field, SecretStr, field_validator

from tidegate.config.auth import AuthConfig
from tidegate.config.engines import EngineConfig
from tidegate.config.idempotency import IdempotencyConfig
from tidegate.config.jwt import JwtConfig
from tidegate.config.kinds import Kinded
from tidegate.config.models import ModelConfig
from tidegate.config.policies import LimitsConfig, PolicyConfig
from tidegate.config.queue import QueueConfig
from tidegate.config.quotas import QuotasConfig
from tidegate.config.rails import RailsConfig
from tidegate.config.review import ReviewConfig
from tidegate.config.server import AdminConfig, ServerConfig
from tidegate.config.settings import Name, Settings
from tidegate.config.stores import StoreConfig
from tidegate.config.tenants import KeyConfig, OrganisationConfig


class Config(Settings):
    """The whole file."""

    server: ServerConfig = Field(default=ServerConfig(), description="Listening, deadlines, draining.")
    admin: AdminConfig = Field(default=AdminConfig(), description="The admin API.")
    engines: Mapping[Name, Annotated[EngineConfig, Kinded("tidegate.engines")]] = Field(
        default={}, description="Where answers are made, by name."
    )
    models: Mapping[Name, ModelConfig] = Field(
        default={},
        description="What clients may ask for: a name, or a prefix and `*`. The longest match wins.",
    )
    stores: Mapping[Name, Annotated[StoreConfig, Kinded("tidegate.stores")]] = Field(
        default={},
        description="Where keys and the use of daily and monthly limits are kept, by name; one at most.",
    )
    auth: AuthConfig = Field(default=AuthConfig(), description="How callers are recognised.")
    policies: Mapping[Name, PolicyConfig] = Field(
        default={}, description="What callers may do, by name; `default` holds for those who name none."
    )
    queue: QueueConfig = Field(default=QueueConfig(), description="Which calls wait for an engine.")
    idempotency: IdempotencyConfig = Field(
        default=IdempotencyConfig(), description="How long answers are kept for requests that are sent again."
    )
    rails: RailsConfig = Field(default=RailsConfig(), description="What texts are checked for.")
    review: ReviewConfig = Field(default=ReviewConfig(), description="People who decide about texts.")
    quotas: QuotasConfig = Field(default=QuotasConfig(), description="How limits are counted.")
    organisations: Mapping[Name, OrganisationConfig] = Field(
        default={}, description="Who the callers are, by name."
    )
    keys: Mapping[Name, KeyConfig] = Field(default={}, description="API keys, by name.")

    @field_validator("stores")
    @classmethod
    def _one_store(cls, stores: Mapping[str, StoreConfig]) -> Mapping[str, StoreConfig]:
        if len(stores) > 1:
            raise ValueError(f"has {len(stores)} stores, and keys are kept in one: leave the others out")
        return stores

    @property
    def has_keys(self) -> bool:
        """Whether callers must show a key or a token. A store counts as keys, even while it is empty."""
        auth = self.auth
        return auth.mode == "keys" or (
            auth.mode is None and (bool(self.keys or self.stores) or auth.jwt is not None)
        )


def limits_of(config: Config) -> Iterator[tuple[str, LimitsConfig]]:
    """Yield all limits of a configuration with their paths."""
    for name, model in config.models.items():
        yield f"models.{name}.limits", model.limits
    for name, policy in config.policies.items():
        path = f"policies.{name}"
        yield f"{path}.limits", policy.limits
        for pattern, limits in policy.limits_by_model.items():
            yield f"{path}.limits_by_model.{pattern}", limits
        if policy.end_user_limits is not None:
            yield f"{path}.end_user_limits", policy.end_user_limits


# Which calls an engine gets, not what it is: a reload that changes only these keeps it running.
SEATS = frozenset({"max_in_flight", "reserved_seats", "adapts", "breaker", "continues"})


def engine_digest(engine: EngineConfig) -> str:
    """Return a digest that identifies an engine across reloads. It covers all settings except the numbers of seats."""
    return digest(engine, without=SEATS)


# What is checked of a token once its issuer's keys are there: a reload that changes only this keeps the keys.
OF_A_TOKEN = frozenset({"audience", "algorithms", "leeway_s", "max_token_age_s", "require", "claims"})


def issuer_digest(jwt: JwtConfig) -> str:
    """Return a digest that identifies an issuer across reloads. It covers what its keys depend on."""
    return digest(jwt, without=OF_A_TOKEN)


def store_digest(store: StoreConfig | ReviewConfig) -> str:
    """Return a digest that identifies a store, or the section `review`, across reloads.

    What is in its file does not count: the gateway itself writes it.
    """
    return _fingerprint(store.model_dump(mode="python"), _plain)


def digest(settings: Settings, *, without: Collection[str] = ()) -> str:
    """A fingerprint of a section, secrets and the state of the files it names included; `without` some of its keys."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path) and value.is_file():
            found = value.stat()
            return [str(value), found.st_size, found.st_mtime_ns]
        return _plain(value)

    return _fingerprint(settings.model_dump(mode="python", exclude=set(without)), plain)


def _fingerprint(tree: Any, plain: Callable[[Any], Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(tree, enc_hook=plain, order="deterministic")).hexdigest()


def _plain(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
