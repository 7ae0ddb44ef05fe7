"""A rail that stands in for detectors: it takes as long as they would, and answers by a simple rule."""

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
}


class StandIn:
    class Config(BaseModel):
        takes_ms: tuple[float, ...] = Field(description="How long the detectors take, one after the other.")
        finds: tuple[Literal["injection", "jailbreak"], ...] = Field(description="What it objects to.")

    def __init__(self, config: Config) -> None:
        takes_ms = sum(config.takes_ms)
        self._takes_s = takes_ms / 1000
        self._finds = config.finds
        self.about = RailFacts(
            name="stand_in",
            version="1",
            surfaces=frozenset({Surface.INPUT}),
            tier=1,
            usual_ms=takes_ms,
        )

    async def check(self, views, scene):
        await asyncio.sleep(self._takes_s)
        for name in self._finds:
            if RULES[name].search(views.folded.text):
                return Verdict(
                    passed=False, category=name, score=0.9, reason="the rule of a stand-in matches"
                )
        return PASSED
