"""What the rails have in common that ask the detector: settings, thresholds, and how they fail."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import exp, log
from types import MappingProxyType
from typing import ClassVar, Final, Literal

from pydantic import Field

from tidegate.config.rails import RailConfig
from tidegate.config.settings import Settings
from tidegate.errors import GatewayError
from tidegate.ports import Detects, Services, TextViews
from tidegate.rails.asked.asking import no_verdict
from tidegate.types import PASSED, Hold, RailFacts, Scene, Surface, Verdict

CHANNELS: Final[Mapping[Surface, str]] = MappingProxyType(
    {
        Surface.INPUT: "user",
        Surface.RETRIEVAL: "document",
        Surface.TOOL: "tool_output",
        Surface.OUTPUT: "model_output",
    }
)
"""What the detector's thresholds call the surfaces."""


class ThresholdsConfig(Settings):
    """Thresholds by what a text is; those that are left out are the detector's own."""

    user: float | None = Field(default=None, gt=0, le=1, description="For what users say.")
    document: float | None = Field(default=None, gt=0, le=1, description="For documents.")
    tool_output: float | None = Field(default=None, gt=0, le=1, description="For results of tools.")
    model_output: float | None = Field(default=None, gt=0, le=1, description="For answers.")

    def of(self, surface: Surface) -> float | None:
        """Return the threshold for texts of a surface, if there is one."""
        found: float | None = getattr(self, CHANNELS[surface])
        return found


class DetectorConfig(RailConfig):
    """A rail that asks the detector."""

    on_fail: Literal["block", "redact", "fix", "regenerate", "review", "log"] = Field(
        default="log",
        description="What happens to a text that the rail objects to. It is only logged by default.",
    )
    thresholds: ThresholdsConfig = Field(
        default=ThresholdsConfig(),
        description="Probabilities from which the rail objects, by what a text is: `user`, `document`, `tool_output` and"
        " `model_output`. Default: the detector's own, which are lower with `on_fail: log` than for all other actions."
        " For `harm_detector`, it is that of `harm`; one above the detector's own moves those of the hazards as far.",
    )
    cache_s: float = Field(
        default=300,
        ge=0,
        description="How old the probabilities of the same text may be, in seconds; 0 runs the model every time.",
    )


class DetectorRail(ABC):
    """A rail that asks the detector. A subclass has its heads, and makes a verdict of their probabilities.

    The detector has a threshold for each head. Scores and thresholds of a rail are on the scale of one of them, `main`:
    there, the probability of another head is as far from the threshold of `main` as it is from its own, in log odds.

    Satisfies `ports.Check` and `ports.Opened`.
    """

    about: RailFacts
    Config: ClassVar[type[DetectorConfig]] = DetectorConfig
    heads: Sequence[str] = ()
    main: ClassVar[str] = ""

    def __init__(self, config: DetectorConfig) -> None:
        self._config = config
        self._levels: Mapping[Surface, Mapping[str, float]] = {}
        self._flags: Mapping[Surface, Mapping[str, float]] = {}
        self._detector: Detects

    async def open(self, services: Services) -> None:
        """See `Opened`. Loads the model, if it is not loaded. Raises ValueError if its files cannot be used."""
        self.use(services.detector)
        try:
            await self._detector.load()
        except GatewayError as error:
            raise ValueError(error.message) from error

    async def close(self) -> None:  # noqa: B027 - there is nothing to close, and a rail that is opened has the method
        """See `Opened`. The detector is not the rail's."""

    def use(self, detector: Detects) -> None:
        """Ask this detector from now on. Raises ValueError if it has no thresholds for the rail."""
        try:
            known = detector.thresholds()
            own = {surface: self._own(surface, known) for surface in CHANNELS}
        except GatewayError as error:
            raise ValueError(error.message) from error
        except KeyError as error:
            raise ValueError(f"the detector has no threshold for {error}") from error
        place = 0 if self._config.on_fail == "log" else 1
        self._levels = {
            surface: {head: both[place] for head, both in known.items()} for surface, known in own.items()
        }
        self._flags = {
            surface: {head: flag for head, (flag, _) in both.items()} for surface, both in own.items()
        }
        self._detector = detector

    async def check(self, views: TextViews, scene: Scene) -> Verdict:
        """Read a text, and compare the probabilities with the thresholds. The verdict has them also if it passes."""
        if not views.original.strip():
            return PASSED
        found = await self.read(views, scene)
        return found if isinstance(found, Verdict) else self.judged(found, scene.surface)

    async def read(self, views: TextViews, scene: Scene) -> Mapping[str, float] | Verdict:
        """Return the probabilities of all heads, or no verdict."""
        try:
            return await self._detector.read(
                views, scene.deadline, fresh_s=self._config.cache_s, apart=scene.caller.organisation
            )
        except GatewayError as error:
            return no_verdict(error.message)

    @abstractmethod
    def judged(self, found: Mapping[str, float], surface: Surface) -> Verdict:
        """Return the verdict on a text with these probabilities."""

    def above(self, found: Mapping[str, float], surface: Surface) -> list[str]:
        """Return the rail's heads whose probability reaches the threshold, the most probable one first."""
        given = self._config.thresholds.of(surface)
        if given is None:
            return self._from(self._levels[surface], found)
        scaled = self.scaled(found, surface)
        return sorted((head for head in self.heads if scaled[head] >= given), key=lambda head: -found[head])

    def scaled(self, found: Mapping[str, float], surface: Surface) -> Mapping[str, float]:
        """Return the probabilities of the rail's heads on the scale of `main`.

        Beside `main`, another head is only heard from its own threshold on: below, `main` ranks texts better alone.
        """
        levels = self._levels[surface]
        scaled = {head: _moved(found[head], levels[head], levels[self.main]) for head in self.heads}
        if self.main not in scaled:
            return scaled
        return {
            head: one if head == self.main or found[head] >= levels[head] else 0.0
            for head, one in scaled.items()
        }

    def flagged(self, found: Mapping[str, float], surface: Surface) -> list[str]:
        """Return the rail's heads whose probability reaches the detector's own threshold to flag them, sorted likewise."""
        return self._from(self._flags[surface], found)

    def _from(self, levels: Mapping[str, float], found: Mapping[str, float]) -> list[str]:
        return sorted(
            (head for head in self.heads if found[head] >= levels[head]), key=lambda head: -found[head]
        )

    def _own(
        self, surface: Surface, known: Mapping[str, Mapping[str, tuple[float, float]]]
    ) -> Mapping[str, tuple[float, float]]:
        return {head: known[head][CHANNELS[surface]] for head in (self.main, *self.heads)}


def _moved(probability: float, level: float, main: float) -> float:
    """Return a probability that is as far from `main` as the given one is from `level`, in log odds."""
    if level == main:
        return probability
    return 1 / (1 + exp(-(_log_odds(probability) - _log_odds(level) + _log_odds(main))))


def _log_odds(probability: float) -> float:
    kept = min(max(probability, 1e-9), 1 - 1e-9)
    return log(kept / (1 - kept))


def facts(kind: str, usual: Sequence[Surface], *, corrects: bool = False) -> RailFacts:
    """Return the facts of a rail that asks the detector."""
    return RailFacts(
        kind,
        "1",
        frozenset(CHANNELS),
        tier=1,
        hold=Hold("sentence"),
        corrects=corrects,
        usual_ms=6.0,
        usual=frozenset(usual),
        punctual=True,
    )
