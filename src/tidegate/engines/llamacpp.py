"""A llama.cpp server that somebody else runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from tidegate.config import HttpEngineConfig, LlamaCppConfig
from tidegate.engines import fields
from tidegate.engines.openai import Explanation
from tidegate.engines.pages import TellingEngine, read_llamacpp
from tidegate.errors import GatewayError, UpstreamRejected
from tidegate.types import Endpoint, Load

_TOO_LONG = "exceeds the available context size"
_TOKENS = re.compile(r"\((\d+) tokens\)")


class LlamaCppEngine(TellingEngine):
    """One llama.cpp server."""

    Config: ClassVar[type[HttpEngineConfig]] = LlamaCppConfig
    FIELDS: ClassVar[Mapping[Endpoint, frozenset[str]]] = fields.LLAMACPP
    CONTEXT_IS: ClassVar[str] = "the engine's --ctx-size divided by its --parallel"

    async def load(self) -> Load:
        """What its /slots and /metrics say, of which either can be switched off. Raises UpstreamError."""
        slots, metrics = await self._pages.get("slots"), await self._pages.get("metrics")
        return read_llamacpp(slots, metrics, await super().load())

    def translate(self, status: int, told: Explanation, retry_after: bytes | None) -> GatewayError:
        """As for any engine; but what llama.cpp says to its own operator is said to a client.

        A prompt longer than the context is told in numbers. A part of the request that the model cannot take is a 500 in
        llama.cpp's words.
        """
        if told.message and _TOO_LONG in told.message:
            refused = status if 400 <= status < 500 else 400
            return UpstreamRejected(self._too_long(told.message), status=refused, param="messages")
        if status == 500 and told.message and "not supported" in told.message:
            return UpstreamRejected(told.message)
        return super().translate(status, told, retry_after)

    def _too_long(self, said: str) -> str:
        tokens = _TOKENS.findall(said)
        if len(tokens) != 2:  # older versions do not tell
            return f"the prompt is longer than the context of one call: {self.CONTEXT_IS}"
        return f"the prompt has {tokens[0]} tokens; one call has room for {tokens[1]}: {self.CONTEXT_IS}"
