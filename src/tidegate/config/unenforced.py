"""Limits that are read but not enforced yet. The gateway does not start with them, so that no operator relies on them."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.config.policies import LimitsConfig
from tidegate.config.tree import Config
from tidegate.errors import ConfigError, Problem

_NO_LIMITS = LimitsConfig()


def unenforced(config: Config) -> list[Problem]:
    """Return a problem for each section that sets limits. This does no I/O."""
    return [
        Problem(path, "limits are not enforced yet, so the gateway does not start with them; leave them out")
        for path, limits in _limits(config)
        if limits != _NO_LIMITS
    ]


def check_enforced(config: Config) -> None:
    """Raise ConfigError for a configuration that sets limits."""
    if problems := unenforced(config):
        raise ConfigError("cannot start", problems)


def _limits(config: Config) -> Iterator[tuple[str, LimitsConfig]]:
    for name, model in config.models.items():
        yield f"models.{name}.limits", model.limits
    for name, policy in config.policies.items():
        yield f"policies.{name}.limits", policy.limits
        for pattern, limits in policy.limits_by_model.items():
            yield f"policies.{name}.limits_by_model.{pattern}", limits
        if policy.end_user_limits is not None:
            yield f"policies.{name}.end_user_limits", policy.end_user_limits
