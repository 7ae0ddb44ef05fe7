"""The rail `harm_detector`: harmful requests and answers, by the hazards S1 to S14."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from tidegate.rails.asked.hazards import HAZARDS, HazardName
from tidegate.rails.detectors.detecting import DetectorConfig, DetectorRail, facts
from tidegate.types import Surface, Verdict

_HARM: Final = "harm"
KNOWN: Final = tuple(one.name for one in HAZARDS if one.code)
"""The hazards that the detector tells apart."""


def _known(name: str) -> str:
    if name not in KNOWN:
        raise ValueError(f"the detector does not know '{name}'; it knows S1 to S14: {', '.join(KNOWN)}")
    return name


class HarmDetectorConfig(DetectorConfig):
    """Settings of the rail `harm_detector`."""

    kind: Literal["harm_detector"] = "harm_detector"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    hazards: tuple[Annotated[HazardName, AfterValidator(_known)], ...] | None = Field(
        default=None,
        min_length=1,
        description="Hazards that the rail objects to, by name or code, such as `weapons` or `S9`. Default: all of them,"
        " and `harm`, which is for harmful texts of any kind.",
    )


class HarmDetector(DetectorRail):
    """Finds texts that ask for harm or do it, with the hazard."""

    Config = HarmDetectorConfig
    about = facts("harm_detector", [Surface.INPUT, Surface.OUTPUT])
    main = _HARM

    def __init__(self, config: HarmDetectorConfig) -> None:
        super().__init__(config)
        self.heads = (_HARM, *KNOWN) if config.hazards is None else tuple(dict.fromkeys(config.hazards))

    def judged(self, found: Mapping[str, float], surface: Surface) -> Verdict:
        """See `DetectorRail`. The category is the most probable hazard that is probable, or `harm` without one.

        A hazard is probable from the detector's own threshold to flag it on, whatever the threshold of the rail is. With
        chosen hazards there is no `harm`, so then the most probable one that the rail objects to is the category.
        """
        scores = tuple((head, found[head]) for head in self.heads)
        most = max(self.scaled(found, surface).values())
        above = self.above(found, surface)
        if not above:
            return Verdict(passed=True, score=most, scores=scores)
        others = [_HARM] if _HARM in self.heads else above
        named = tuple([head for head in self.flagged(found, surface) if head != _HARM] or others)
        return Verdict(
            passed=False,
            category=named[0],
            score=most,
            reason=", ".join(named),
            scores=scores,
            categories=named,
        )
