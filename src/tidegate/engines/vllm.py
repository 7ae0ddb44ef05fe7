"""A vLLM server. Beyond the OpenAI API: its own sampling fields, the place of a call in its queue, how busy it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from tidegate.config import HttpEngineConfig, VllmConfig
from tidegate.engines import fields
from tidegate.engines.pages import TellingEngine, read_vllm
from tidegate.types import Ask, Endpoint, Load


class VllmEngine(TellingEngine):
    """One vLLM server. Its 503 means that its queue is full, which is saturation, not failure."""

    Config: ClassVar[type[HttpEngineConfig]] = VllmConfig
    FIELDS: ClassVar[Mapping[Endpoint, frozenset[str]]] = fields.VLLM

    async def load(self) -> Load:
        """What its /metrics say, or what the gateway knows where there is no such page. Raises UpstreamError."""
        page, own = await self._pages.get("metrics"), await super().load()
        return own if page is None else read_vllm(page, own)

    def fields(self, ask: Ask) -> Mapping[str, msgspec.Raw]:
        """See `OpenAIEngine.fields`. In vLLM too the lower priority is served first.

        It refuses one other than 0 unless it runs with `--scheduling-policy priority`.
        """
        if ask.priority:
            return {**ask.fields, "priority": msgspec.Raw(b"%d" % ask.priority)}
        return ask.fields
