"""A file without a mistake, and the mistakes of any other."""

from __future__ import annotations

import pytest

from tidegate import config
from tidegate.errors import ConfigError, Problem

GOOD = """
engines:
  near: {kind: openai, url: "http://127.0.0.1:8000/v1"}
models:
  m: {deployments: [{engine: near}]}
"""


def problems(text: str) -> list[Problem]:
    """What is wrong with a file."""
    with pytest.raises(ConfigError) as raised:
        config.parse_text(text, source="tidegate.yaml")
    return raised.value.problems
