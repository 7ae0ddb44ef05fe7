"""Settings that are read but have no effect yet. The gateway does not start with them, so no operator relies on them."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.config.policies import LimitsConfig, PolicyConfig
from tidegate.config.settings import Settings
from tidegate.config.tree import Config
from tidegate.errors import ConfigError, Problem

_NO_LIMITS = LimitsConfig()
_OF_A_POLICY = (
    "limits",
    "limits_by_model",
    "end_user_limits",
    "on_limit",
    "enforce",
    "strict",
    "count",
    "internal_calls",
    "timezone",
)


def unenforced(config: Config) -> list[Problem]:
    """Return a problem for each such setting that has another value than its default. This does no I/O."""
    return [
        Problem(path, "this has no effect yet, so the gateway does not start with it; leave it out")
        for path in _set(config)
    ]


def check_enforced(config: Config) -> None:
    """Raise ConfigError for a configuration with such a setting."""
    if problems := unenforced(config):
        raise ConfigError("cannot start", problems)


def _set(config: Config) -> Iterator[str]:
    for name, model in config.models.items():
        if model.limits != _NO_LIMITS:
            yield f"models.{name}.limits"
    for name, policy in config.policies.items():
        yield from _others(policy, PolicyConfig(), _OF_A_POLICY, f"policies.{name}")


def _others(given: Settings, default: Settings, names: tuple[str, ...], path: str) -> Iterator[str]:
    for name in names:
        if getattr(given, name) != getattr(default, name):
            yield f"{path}.{name}"
