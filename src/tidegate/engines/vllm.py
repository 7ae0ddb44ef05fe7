"""A vLLM server. Beyond the OpenAI API: its own sampling fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tidegate.config import HttpEngineConfig, VllmConfig
from tidegate.engines import fields
from tidegate.engines.openai import OpenAIEngine
from tidegate.types import Endpoint


class VllmEngine(OpenAIEngine):
    """One vLLM server. Its 503 means that its queue is full, which is saturation, not failure."""

    Config: ClassVar[type[HttpEngineConfig]] = VllmConfig
    FIELDS: ClassVar[Mapping[Endpoint, frozenset[str]]] = fields.VLLM
