"""An SGLang server. Beyond the OpenAI API: its own sampling fields, the place of a call in its queue, how busy it is."""

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

    That its queue is full it says with a 503, and to a stream, which has its 200 by then, with an error of code 503. Both
    are saturation, not failure.
    """

    Config: ClassVar[type[HttpEngineConfig]] = SglangConfig
    FIELDS: ClassVar[Mapping[Endpoint, frozenset[str]]] = fields.SGLANG

    async def load(self) -> Load:
        """What its /v1/loads says, where it has none its /metrics, else what the gateway knows. Raises UpstreamError."""
        page = await self._pages.get("v1/loads?include=core")
        if page is not None:
            return read_sglang_loads(page)
        page, own = await self._pages.get("metrics"), await super().load()
        return own if page is None else read_sglang_metrics(page, own)

    def fields(self, ask: Ask) -> Mapping[str, msgspec.Raw]:
        """See `OpenAIEngine.fields`. SGLang serves the higher priority first: ours changes its sign.

        It heeds one only when it runs with `--enable-priority-scheduling`.
        """
        if ask.priority:
            return {**ask.fields, "priority": msgspec.Raw(b"%d" % -ask.priority)}
        return ask.fields
