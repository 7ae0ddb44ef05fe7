"""The engine for a vLLM server. It adds vLLM's own request fields, priorities and load page to the OpenAI API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from tidegate.config import HttpEngineConfig, VllmConfig
from tidegate.engines import fields
from tidegate.engines.pages import TellingEngine, read_vllm
from tidegate.types import Ask, Endpoint, Load


class VllmEngine(TellingEngine):
    """One vLLM server. A 503 from it means that its queue is full, so it counts as busy and not as failed."""

    Config: ClassVar[type[HttpEngineConfig]] = VllmConfig
    FIELDS: ClassVar[Mapping[Endpoint, frozenset[str]]] = fields.VLLM
    SPELLING: ClassVar[str] = "vllm"

    def __init__(self, config: VllmConfig) -> None:
        super().__init__(config)
        self._sends_priority = config.sends_priority

    async def load(self) -> Load:
        """Return the load in vLLM's /metrics, or the gateway's own count if it has no such page. Raises UpstreamError."""
        page, own = await self._pages.get("metrics"), await super().load()
        return own if page is None else read_vllm(page, own)

    def fields(self, ask: Ask) -> Mapping[str, msgspec.Raw]:
        """See `OpenAIEngine.fields`. vLLM serves lower priorities first, as the gateway does.

        Unless it runs with `--scheduling-policy priority`, vLLM refuses a priority other than 0 or, as 0.32 does, ignores
        it. A call without one has 0.
        """
        if self._sends_priority and ask.priority:
            return {**ask.fields, "priority": msgspec.Raw(b"%d" % ask.priority)}
        return ask.fields
