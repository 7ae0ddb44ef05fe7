"""Warnings about a configuration that can be served but most likely has a mistake. `check` and the log show them."""

from __future__ import annotations

from tidegate.config import urls
from tidegate.config.engines import HttpEngineConfig
from tidegate.config.tree import Config
from tidegate.errors import Problem


def warnings(config: Config) -> list[Problem]:
    """Return the warnings, each with the path of its setting. This does no I/O."""
    return [
        Problem(
            f"engines.{name}.url",
            f"{engine.url} names no version of the API: most servers have theirs at {likely}."
            f" Calls go to {engine.url}/chat/completions",
        )
        for name, engine in config.engines.items()
        if isinstance(engine, HttpEngineConfig) and (likely := urls.likely(engine.url))
    ]
