"""A rail that stands in for a detector: it takes as long as the detector would, and answers by a simple rule."""

import asyncio
import re
from typing import Literal

from pydantic import BaseModel, Field

from tidegate.types import PASSED, RailFacts, Surface, Verdict

RULES = {
    "injection": re.compile(
        r"ignore (?:all |the )?(?:previous |above )?(?:instructions|rules)", re.IGNORECASE
    ),
    "jailbreak": re.compile(r"pretend|role-?play|without (?:any )?(?:rules|filters|limits)", re.IGNORECASE),
    "harm": re.compile(r"\b(?:poison|overdose|hurt)\b", re.IGNORECASE),
}


class StandIn:
    class Config(BaseModel):
        takes_ms: float = Field(description="How long a check takes.")
        tier: int = Field(description="1 for a small model, 2 for a large one. Lower tiers run first.")
        finds: tuple[Literal["injection", "jailbreak", "harm"], ...] = Field(
            description="What it objects to."
        )

    def __init__(self, config: Config) -> None:
        self._takes_s = config.takes_ms / 1000
        self._finds = config.finds
        self.about = RailFacts(
            name="stand_in",
            version="1",
            surfaces=frozenset({Surface.INPUT}),
            tier=config.tier,
            usual_ms=config.takes_ms,
        )

    async def check(self, views, scene):
        await asyncio.sleep(self._takes_s)
        for name in self._finds:
            if RULES[name].search(views.folded.text):
                return Verdict(
                    passed=False, category=name, score=0.9, reason="the rule of a stand-in matches"
                )
        return PASSED
