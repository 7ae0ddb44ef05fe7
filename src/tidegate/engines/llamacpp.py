"""A llama.cpp server that somebody else runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tidegate.config import HttpEngineConfig, LlamaCppConfig
from tidegate.engines import fields
from tidegate.engines.openai import Explanation, OpenAIEngine
from tidegate.errors import GatewayError, UpstreamRejected
from tidegate.types import Endpoint


class LlamaCppEngine(OpenAIEngine):
    """One llama.cpp server."""

    Config: ClassVar[type[HttpEngineConfig]] = LlamaCppConfig
    FIELDS: ClassVar[Mapping[Endpoint, frozenset[str]]] = fields.LLAMACPP

    def translate(self, status: int, told: Explanation, retry_after: bytes | None) -> GatewayError:
        """As for any engine; but a part of the request that the model cannot take is a 500 in llama.cpp's words."""
        if status == 500 and told.message and "not supported" in told.message:
            return UpstreamRejected(told.message)
        return super().translate(status, told, retry_after)
