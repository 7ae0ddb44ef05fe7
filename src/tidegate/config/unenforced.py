"""Settings that are read but have no effect yet. The gateway does not start with them, so no operator relies on them."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.config.tree import Config, limits_of
from tidegate.errors import ConfigError, Problem

_NEED_PRICES = ("usd_per_day", "usd_per_month")
_PRICES = "needs the price of every model, and prices cannot be configured yet; leave it out"


def unenforced(config: Config) -> list[Problem]:
    """Return a problem for each such setting. This does no I/O."""
    return list(_problems(config))


def check_enforced(config: Config) -> None:
    """Raise ConfigError for a configuration with such a setting."""
    if problems := unenforced(config):
        raise ConfigError("cannot start", problems)


def _problems(config: Config) -> Iterator[Problem]:
    for path, limits in limits_of(config):
        for name in _NEED_PRICES:
            if getattr(limits, name) is not None:
                yield Problem(f"{path}.{name}", _PRICES)
