"""The engine for an SGLang server. It adds SGLang's own request fields, priorities and load pages to the OpenAI API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from tidegate.config import HttpEngineConfig, SglangConfig
from tidegate.engines import fields
from tidegate.engines.pages import TellingEngine, read_sglang_loads, read_sglang_metrics
from tidegate.types import Ask, Endpoint, Load


class SglangEngine(TellingEngine):
    """One SGLang server.

    If its queue is full, SGLang answers with a 503. A stream has its 200 by then, so it gets an error event with the code
    503. In both cases the server counts as busy and not as failed.
    """

    Config: ClassVar[type[HttpEngineConfig]] = SglangConfig
    FIELDS: ClassVar[Mapping[Endpoint, frozenset[str]]] = fields.SGLANG
    SPELLING: ClassVar[str] = "sglang"

    def __init__(self, config: SglangConfig) -> None:
        super().__init__(config)
        self._sends_priority = config.sends_priority

    async def load(self) -> Load:
        """Return the load in SGLang's /v1/loads or /metrics, or else the gateway's own count. Raises UpstreamError."""
        page = await self._pages.get("v1/loads?include=core")
        if page is not None:
            return read_sglang_loads(page)
        page, own = await self._pages.get("metrics"), await super().load()
        return own if page is None else read_sglang_metrics(page, own)

    def fields(self, ask: Ask) -> Mapping[str, msgspec.Raw]:
        """See `OpenAIEngine.fields`. SGLang serves higher priorities first, so the gateway's priority is negated.

        SGLang ignores priorities unless it runs with `--enable-priority-scheduling`. With this option it serves calls
        without a priority last and preempts them first, so 0 is sent too.
        """
        if self._sends_priority:
            return {**ask.fields, "priority": msgspec.Raw(b"%d" % -ask.priority)}
        return ask.fields
