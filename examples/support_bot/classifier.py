"""A rail that stands in for a model which recognises promises that are made without the usual words.

It takes 30 ms, as a small model would, and looks for a few turns of phrase. A sentence that takes its promise back, such as
"I cannot tell you that it is on us", is none.
"""

import asyncio
import re

from pydantic import BaseModel, Field

from tidegate.types import PASSED, Hold, RailFacts, Surface, Verdict

VEILED = re.compile(
    r"consider it done|(?:it's|it is|this one's|this one is) on (?:us|the house)|you won't pay a (?:cent|thing)"
    r"|we've got you covered|i'll make sure (?:of it|you get)|don't worry about the (?:bill|price|invoice)"
    r"|leave the (?:bill|costs) to us|i'll sort (?:that|it) out for you",
    re.IGNORECASE,
)
TAKEN_BACK = re.compile(r"\b(?:cannot|can't|not able|unable|never|whether|if)\b", re.IGNORECASE)


class Classifier:
    class Config(BaseModel):
        takes_ms: float = Field(default=30, description="How long a check takes.")

    about = RailFacts(
        name="classifier",
        version="1",
        surfaces=frozenset({Surface.OUTPUT}),
        tier=1,
        hold=Hold("whole"),
        usual_ms=30,
    )

    def __init__(self, config: Config) -> None:
        self._takes_s = config.takes_ms / 1000

    async def check(self, views, scene):
        await asyncio.sleep(self._takes_s)
        for sentence in re.split(r"(?<=[.!?])\s+", views.folded.text):
            if VEILED.search(sentence) and not TAKEN_BACK.search(sentence):
                return Verdict(passed=False, category="promise", score=0.8, reason="a veiled promise")
        return PASSED
