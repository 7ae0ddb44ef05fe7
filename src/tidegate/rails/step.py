"""A rail with the settings of its profile."""

from __future__ import annotations

import msgspec

from tidegate.ports import Check, Rule, Scanning
from tidegate.types import Action, RailFacts, Surface

ENDLESS_S = float("inf")
_REWRITE = frozenset({Action.REDACT, Action.FIX})
_SPAN_HOLDS = frozenset({"none", "span"})


class Step(msgspec.Struct, frozen=True, eq=False):
    """One rail of a plan.

    `fallback` decides where the rail itself fails; without one, `closed` says what happens. `whole` says that it needs the
    whole answer. A `trusted` rail is one of Tidegate's own, whose scanners do not fail.
    """

    name: str
    rail: Rule | Check
    about: RailFacts
    surfaces: frozenset[Surface]
    on_fail: Action
    closed: bool = True
    fallback: Step | None = None
    timeout_s: float = ENDLESS_S
    whole: bool = False
    trusted: bool = False

    @property
    def scans(self) -> bool:
        """Whether the rail can check a stream as it arrives."""
        return (
            self.about.tier == 0
            and not self.whole
            and self.about.hold.kind in _SPAN_HOLDS
            and isinstance(self.rail, Scanning)
        )

    @property
    def is_punctual(self) -> bool:
        """Whether nobody has to end its checks."""
        return self.trusted and self.about.punctual

    @property
    def rewrites(self) -> bool:
        """Whether the rail changes texts that others see."""
        return self.on_fail in _REWRITE and not self.about.marks
