"""The rail `injection_detector`: jailbreaks in what users say, and injections in documents and results of tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tidegate.rails.detectors.detecting import DetectorConfig, DetectorRail, facts
from tidegate.types import Surface, Verdict

_HEAD = "injection"


class InjectionDetectorConfig(DetectorConfig):
    """Settings of the rail `injection_detector`."""

    kind: Literal["injection_detector"] = "injection_detector"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen


class InjectionDetector(DetectorRail):
    """Finds jailbreaks and injections by what a text means."""

    Config = InjectionDetectorConfig
    about = facts("injection_detector", [Surface.INPUT, Surface.RETRIEVAL, Surface.TOOL])
    main = _HEAD
    heads = (_HEAD,)

    def judged(self, found: Mapping[str, float], surface: Surface) -> Verdict:
        """See `DetectorRail`. Users try to jailbreak, and documents to inject."""
        name = "jailbreak" if surface is Surface.INPUT else "injection"
        scores = ((name, found[_HEAD]),)
        if not self.above(found, surface):
            return Verdict(passed=True, score=found[_HEAD], scores=scores)
        return Verdict(passed=False, category=name, score=found[_HEAD], reason=name, scores=scores)
