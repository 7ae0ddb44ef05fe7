"""Warnings about a configuration that can be served but most likely has a mistake. `check` and the log show them."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.config import urls
from tidegate.config.engines import HttpEngineConfig
from tidegate.config.tree import Config, limits_of
from tidegate.errors import Problem


def warnings(config: Config) -> list[Problem]:
    """Return the warnings, each with the path of its setting. This does no I/O."""
    return [*_urls(config), *_forgotten(config)]


def _urls(config: Config) -> Iterator[Problem]:
    for name, engine in config.engines.items():
        if isinstance(engine, HttpEngineConfig) and (likely := urls.likely(engine.url)):
            yield Problem(
                f"engines.{name}.url",
                f"{engine.url} names no version of the API: most servers have theirs at {likely}."
                f" Calls go to {engine.url}/chat/completions",
            )


def _forgotten(config: Config) -> Iterator[Problem]:
    """Limits whose consumption a restart forgets, because there is no store that keeps it."""
    if config.stores:
        return
    for path, limits in limits_of(config):
        for setting in type(limits).model_fields:
            _, _, period = setting.partition("_per_")
            if period in ("day", "month") and getattr(limits, setting) is not None:
                yield Problem(
                    f"{path}.{setting}",
                    f"what is used of it in a {period} is forgotten when the gateway restarts:"
                    " add a store under `stores`, which keeps it",
                )
