"""A llama.cpp server that somebody else runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from tidegate.config import HttpEngineConfig, LlamaCppConfig
from tidegate.engines import fields
from tidegate.engines.pages import TellingEngine, read_llamacpp
from tidegate.engines.refusals import Explanation
from tidegate.errors import ContextExceeded, GatewayError, UpstreamRejected
from tidegate.types import Endpoint, Load

_ADVICE = re.compile(r"[,.;]? *try increasing.*", re.IGNORECASE | re.DOTALL)


class LlamaCppEngine(TellingEngine):
    """One llama.cpp server."""

    Config: ClassVar[type[HttpEngineConfig]] = LlamaCppConfig
    FIELDS: ClassVar[Mapping[Endpoint, frozenset[str]]] = fields.LLAMACPP
    CONTEXT_IS: ClassVar[str] = "the engine's --ctx-size divided by its --parallel"

    async def load(self) -> Load:
        """What its /slots and /metrics say, of which either can be switched off. Raises UpstreamError."""
        slots, metrics = await self._pages.get("slots"), await self._pages.get("metrics")
        return read_llamacpp(slots, metrics, await super().load())

    def translate(
        self, status: int | None, told: Explanation, retry_after_s: float | None = None
    ) -> GatewayError:
        """As for any engine; but what llama.cpp says to its own operator is said to a client.

        A prompt longer than the context keeps llama.cpp's phrase, without its advice to the operator. A part of the request
        that the model cannot take is a 500 in llama.cpp's words.
        """
        error = super().translate(status, told, retry_after_s)
        if isinstance(error, ContextExceeded):
            error.message = f"{_ADVICE.sub('', error.message)}: the context of one call is {self.CONTEXT_IS}"
        elif status == 500 and told.message and "not supported" in told.message:
            return UpstreamRejected(told.message)
        return error
