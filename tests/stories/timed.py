"""A detector of the test that takes a known time, so that figures on the clock of `virtual` are exact."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tidegate.ports import TextViews

READ_MS = 20.0
"""What one reading takes: several times what the real one takes on a core that is free."""
WORD = "doctorx"


class ReadsInTime:
    """Finds an injection in texts that have a word, and takes the loop's time, not a thread's. Satisfies `Detects`."""

    async def load(self) -> None:
        """Return at once: there is no model."""

    async def read(
        self, views: TextViews, until: float, *, fresh_s: float = 0.0, apart: str = ""
    ) -> Mapping[str, float]:
        del until, fresh_s, apart
        await asyncio.sleep(READ_MS / 1000)
        return {"injection": 1.0 if WORD in views.folded.text.casefold() else 0.0}

    def thresholds(self) -> Mapping[str, Mapping[str, tuple[float, float]]]:
        return {"injection": dict.fromkeys(("user", "document", "tool_output", "model_output"), (0.5, 0.9))}

    async def close(self) -> None:
        """Return at once: nothing has been loaded."""
