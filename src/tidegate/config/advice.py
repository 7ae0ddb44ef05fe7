"""What is most likely a mistake in a configuration and still can be served: warnings, for `check` and for the log."""

from __future__ import annotations

from tidegate.config import urls
from tidegate.config.engines import HttpEngineConfig
from tidegate.config.tree import Config
from tidegate.errors import Problem


def warnings(config: Config) -> list[Problem]:
    """What should be looked at, each with its path. Nothing outside of the process is asked."""
    return [
        Problem(
            f"engines.{name}.url",
            f"{engine.url} names no version of the API: most servers have theirs at {likely}."
            f" Calls go to {engine.url}/chat/completions",
        )
        for name, engine in config.engines.items()
        if isinstance(engine, HttpEngineConfig) and (likely := urls.likely(engine.url))
    ]
