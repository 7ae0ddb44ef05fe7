"""What the rails of a plan need of its budgets: the time of those that run one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tidegate.rails.checking import JUDGE_TIER
from tidegate.rails.step import Step


class Needed(NamedTuple):
    """The time of tiers 0 and 1, which `rails.budget_ms` limits, and of tier 2, which `rails.judge_budget_ms` limits.

    Both are in seconds.
    """

    usual_s: float
    judges_s: float


def critical_path(steps: Sequence[Step], took_s: Callable[[Step], float]) -> Needed:
    """Return the time that rails need together: rules one after the other, the others side by side, tier by tier.

    `took_s` returns the time of one rail, in seconds.
    """
    usual = sum(took_s(step) for step in steps if step.about.tier == 0)
    checks = [step for step in steps if step.about.tier > 0]
    tiers = {step.about.tier for step in checks}
    needed = {tier: _of_tier([step for step in checks if step.about.tier == tier], took_s) for tier in tiers}
    return Needed(
        usual + sum(time for tier, time in needed.items() if tier < JUDGE_TIER),
        sum(time for tier, time in needed.items() if tier >= JUDGE_TIER),
    )


def _of_tier(steps: Sequence[Step], took_s: Callable[[Step], float]) -> float:
    rewriting = sum(took_s(step) for step in steps if step.rewrites)
    return rewriting + max((took_s(step) for step in steps if not step.rewrites), default=0.0)
