"""How long rails take, as figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

PLAN = "whole plan"
"""The name of all rails together."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """How long one rail took on one text, or all of them together. `checks` is the number of measurements."""

    name: str
    tier: int | None
    checks: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Budget(msgspec.Struct, frozen=True):
    """What the critical path needs of a budget. `has_ms` is the budget."""

    setting: str
    has_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def said(self) -> str:
        """What to do if it does not fit, as the end of a sentence."""
        if self.p99_ms <= self.has_ms:
            return ""
        return f": too slow, so `on_error` decides for some texts; raise {self.setting}, or take out a rail"


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """The times of a profile. `whole` is all rails of a text.

    `stopped` is the number of checks that a block has ended, `failed` of those in which a rail has failed.
    """

    profile: str
    surface: str
    texts: int
    characters: int
    rounds: int
    stopped: int
    failed: int
    rails: Sequence[Measured]
    whole: Measured
    budgets: Sequence[Budget]


def of_samples(name: str, tier: int | None, samples_s: Sequence[float]) -> Measured:
    """Return the quantiles of times in seconds; 0 where nothing was measured."""
    ordered = sorted(samples_s)
    p50, p95, p99 = (round(_quantile(ordered, share) * 1000, 4) for share in (0.5, 0.95, 0.99))
    return Measured(name=name, tier=tier, checks=len(ordered), p50_ms=p50, p95_ms=p95, p99_ms=p99)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest sample that is not exceeded by `share` of them (nearest rank)."""
    return ordered[max(math.ceil(len(ordered) * share) - 1, 0)] if ordered else 0.0
