"""A detector of the test: each head has the probability that stands in the text, such as `toxicity=0.8`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tidegate.errors import GatewayError
from tidegate.ports import TextViews
from tidegate.rails.detectors.harm_detector import KNOWN

HEADS = ("injection", "toxicity", "harm", *KNOWN)
FLAG = {"user": 0.5, "document": 0.6, "tool_output": 0.7, "model_output": 0.8}
BLOCK = 0.9


class ReadsFigures:
    """Satisfies `Detects`. `asked` has the arguments of each call, and `fails` is raised by each."""

    def __init__(self, heads: tuple[str, ...] = HEADS, fails: GatewayError | None = None) -> None:
        self.heads = heads
        self.fails = fails
        self.asked: list[tuple[str, float, float, str]] = []
        self.loads = 0

    async def load(self) -> None:
        self.loads += 1
        if self.fails is not None:
            raise self.fails

    async def read(
        self, views: TextViews, until: float, *, fresh_s: float = 0.0, apart: str = ""
    ) -> Mapping[str, float]:
        self.asked.append((views.original, until, fresh_s, apart))
        if self.fails is not None:
            raise self.fails
        found = dict.fromkeys(self.heads, 0.0)
        for head, figure in re.findall(r"(\w+)=([\d.]*\d)", views.original):
            found[head] = max(found[head], float(figure))
        return found

    def thresholds(self) -> Mapping[str, Mapping[str, tuple[float, float]]]:
        return {head: {channel: (level, BLOCK) for channel, level in FLAG.items()} for head in self.heads}

    async def close(self) -> None:
        return None
