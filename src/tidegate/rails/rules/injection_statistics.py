"""The rail `injection_statistics`: injections and jailbreaks by the words and letters that they are made of.

A linear model has learnt how much each word, each pair of words and each few letters in a row speak for an injection. It
finds attacks in words that no list has, and mistakes some harmless texts for them: by default it only flags.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from tidegate.config.rails import RailConfig
from tidegate.config.settings import Settings
from tidegate.models.statistics.model import statistics, thresholds
from tidegate.ports import TextViews
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Surface, Verdict

CATEGORY: Final = "injection"
CHANNELS: Final = MappingProxyType(
    {
        Surface.INPUT: "user",
        Surface.RETRIEVAL: "document",
        Surface.TOOL: "tool_output",
        Surface.OUTPUT: "model_output",
    }
)

_Threshold = Annotated[float | None, Field(gt=0, le=1)]


class ChannelThresholds(Settings):
    """Probabilities from which a text is objected to, by where it comes from. Null stands for the measured one."""

    user: _Threshold = Field(default=None, description="For prompts of users.")
    document: _Threshold = Field(default=None, description="For documents that the application looked up.")
    tool_output: _Threshold = Field(default=None, description="For results of tools.")
    model_output: _Threshold = Field(default=None, description="For answers of the engine.")


class InjectionStatisticsConfig(RailConfig):
    """Settings of the rail `injection_statistics`."""

    kind: Literal["injection_statistics"] = "injection_statistics"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    on_fail: Literal["block", "review", "regenerate", "log"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
        default="log",
        description="What happens to a text that the rail objects to: the call is refused, a person decides, the engine is"
        " asked again, or it is only logged.",
    )
    thresholds: ChannelThresholds = Field(
        default=ChannelThresholds(),
        description="Probability from which a text is objected to, for each channel. Default: that which 0.5 % of natural"
        " questions exceed where `on_fail` is `log`, and 0.05 % otherwise.",
    )


class InjectionStatistics:
    """Weighs the words and letters of a text. Satisfies `ports.Rule`."""

    Config: ClassVar[type[InjectionStatisticsConfig]] = InjectionStatisticsConfig

    def __init__(self, config: InjectionStatisticsConfig) -> None:
        self._statistics = statistics()
        self._limits = {surface: _limit(config, channel) for surface, channel in CHANNELS.items()}
        self.about = RailFacts(
            name=config.name or "injection_statistics",
            version="1",
            surfaces=frozenset(CHANNELS),
            usual=frozenset({Surface.INPUT, Surface.RETRIEVAL, Surface.TOOL}),
            hold=Hold("sentence"),
            usual_ms=0.1,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        if not views.original.strip():
            return PASSED
        logit = self._statistics.logits(views)[CATEGORY]
        chance = 1 / (1 + math.exp(-max(logit, -700)))
        scores = ((CATEGORY, chance),)
        if chance < self._limits[scene.surface]:
            return Verdict(passed=True, score=chance, scores=scores)
        reason = "words and letters as in prompt injections"
        return Verdict(passed=False, category=CATEGORY, score=chance, reason=reason, scores=scores)


def _limit(config: InjectionStatisticsConfig, channel: str) -> float:
    given: float | None = getattr(config.thresholds, channel)
    if given is not None:
        return given
    usual = thresholds()[channel]
    return usual.flag if config.on_fail == "log" else usual.block
