"""The engine for a llama.cpp server that the gateway does not run itself."""

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
    """One llama.cpp server. `CONTEXT_IS` says in errors where the size of a call's context is set."""

    Config: ClassVar[type[HttpEngineConfig]] = LlamaCppConfig
    FIELDS: ClassVar[Mapping[Endpoint, frozenset[str]]] = fields.LLAMACPP
    SPELLING: ClassVar[str] = "llamacpp"
    RESERVES_ANSWER: ClassVar[bool] = False
    # llama.cpp announces that it keeps each connection open, and closes it after each stream.
    KEEPS_CHUNKED: ClassVar[bool] = False
    CONTEXT_IS: ClassVar[str] = "the engine's --ctx-size divided by its --parallel"

    async def load(self) -> Load:
        """Return the load in llama.cpp's /slots and /metrics. Either page can be switched off. Raises UpstreamError."""
        slots, metrics = await self._pages.get("slots"), await self._pages.get("metrics")
        return read_llamacpp(slots, metrics, await super().load())

    def translate(
        self, status: int | None, told: Explanation, retry_after_s: float | None = None
    ) -> GatewayError:
        """See `OpenAIEngine.translate`. Adapts two of llama.cpp's messages, which are meant for its operator, to clients.

        For a prompt that is longer than the context, llama.cpp's phrase is kept without its advice to the operator. If the
        model does not support a part of the request, llama.cpp answers with a 500, which becomes an UpstreamRejected.
        """
        error = super().translate(status, told, retry_after_s)
        if isinstance(error, ContextExceeded):
            error.message = f"{_ADVICE.sub('', error.message)}: the context of one call is {self.CONTEXT_IS}"
        elif status == 500 and told.message and "not supported" in told.message:
            return UpstreamRejected(told.message)
        return error
