"""The rail `toxicity_detector`: insults, hate and threats by what a text means, also without a rude word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Final, Literal

import msgspec

from tidegate.kernel.text import Views
from tidegate.ports import TextViews
from tidegate.rails.detectors.detecting import DetectorConfig, DetectorRail, facts
from tidegate.types import Scene, Surface, Verdict

_HEAD: Final = "toxicity"
_AFTER_SENTENCE: Final = re.compile(r"(?<=[.!?\n])\s+|(?<=[。！？])")  # noqa: RUF001 - full-width marks end sentences
MOST_SENTENCES: Final = 64
"""The most sentences of a text that are read one by one for `on_fail: fix`. A longer text is removed as a whole."""


class ToxicityDetectorConfig(DetectorConfig):
    """Settings of the rail `toxicity_detector`."""

    kind: Literal["toxicity_detector"] = "toxicity_detector"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen


class ToxicityDetector(DetectorRail):
    """Finds texts that insult, threaten or demean, by what they mean."""

    Config = ToxicityDetectorConfig
    about = facts("toxicity_detector", [Surface.INPUT, Surface.OUTPUT], corrects=True)
    main = _HEAD
    heads = (_HEAD,)

    async def check(self, views: TextViews, scene: Scene) -> Verdict:
        """See `DetectorRail`. For `on_fail: fix`, the verdict has the text without its toxic sentences."""
        verdict = await super().check(views, scene)
        if verdict.passed or verdict.error or self._config.on_fail != "fix":
            return verdict
        return await self._fixed(verdict, views.original, scene)

    def judged(self, found: Mapping[str, float], surface: Surface) -> Verdict:
        """See `DetectorRail`."""
        scores = ((_HEAD, found[_HEAD]),)
        if not self.above(found, surface):
            return Verdict(passed=True, score=found[_HEAD], scores=scores)
        return Verdict(passed=False, category=_HEAD, score=found[_HEAD], reason=_HEAD, scores=scores)

    async def _fixed(self, verdict: Verdict, text: str, scene: Scene) -> Verdict:
        """Return a verdict with the sentences that are not toxic, if they are not toxic together."""
        ends = [0, *(found.end() for found in _AFTER_SENTENCE.finditer(text)), len(text)]
        sentences = [text[start:end] for start, end in pairwise(ends) if start < end]
        kept: list[str] = []
        for one in sentences if 1 < len(sentences) <= MOST_SENTENCES else ():
            found = await super().check(Views(one), scene)
            if found.error:
                return found
            kept += [one] if found.passed else []
        rest = "".join(kept).rstrip()
        if rest:
            found = await super().check(Views(rest), scene)
            if found.error:
                return found
            rest = rest if found.passed else ""
        return msgspec.structs.replace(verdict, text=rest)
