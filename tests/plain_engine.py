"""The methods of an engine that a test does not care about."""

from __future__ import annotations

from tidegate.engines import fields
from tidegate.ports import Host
from tidegate.types import Ask, Capabilities, Load


class PlainEngine:
    """An engine that is always ready, never busy, and counts no tokens. A subclass has `stream`."""

    capabilities = Capabilities(fields.OPENAI)

    async def open(self, host: Host) -> None: ...
    async def close(self) -> None: ...
    async def ready(self) -> bool:
        return True

    async def load(self) -> Load:
        return Load()

    async def count_tokens(self, ask: Ask) -> int | None:
        del ask
        return None
