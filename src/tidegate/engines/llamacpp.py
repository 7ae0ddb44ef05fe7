"""A llama.cpp server that somebody else runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tidegate.config import HttpEngineConfig, LlamaCppConfig
from tidegate.engines import fields
from tidegate.engines.openai import OpenAIEngine
from tidegate.types import Endpoint


class LlamaCppEngine(OpenAIEngine):
    """One llama.cpp server."""

    Config: ClassVar[type[HttpEngineConfig]] = LlamaCppConfig
    FIELDS: ClassVar[Mapping[Endpoint, frozenset[str]]] = fields.LLAMACPP
