"""What the rails of a plan need of its budgets: the time of those that run one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tidegate.errors import Problem
from tidegate.rails.plan import Plan, Step
from tidegate.rails.review import JUDGE_TIER


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


def over_budget(plans: Iterable[Plan]) -> list[Problem]:
    """Return the plans whose rails need more time, by what they declare of themselves, than the budgets have."""
    found: list[Problem] = []
    for plan in plans:
        for side, steps in (
            ("input", plan.input_rules + plan.input_checks),
            ("output", plan.output_rules + plan.output_checks),
        ):
            needed = critical_path(steps, lambda step: step.about.usual_ms / 1000)
            for setting, has_s, need_s in (
                ("budget_ms", plan.budget_s, needed.usual_s),
                ("judge_budget_ms", plan.judge_budget_s, needed.judges_s),
            ):
                if need_s > has_s:
                    found.append(_too_much(plan.name, side, setting, (need_s * 1000, has_s * 1000)))
    return found


def _too_much(profile: str, side: str, setting: str, times_ms: tuple[float, float]) -> Problem:
    need, has = times_ms
    return Problem(
        f"rails.profiles.{profile}",
        f"its {side} rails usually take {need:g} ms, and rails.{setting} is {has:g}: the rails that do not fit are decided"
        " by their `on_error`; raise the budget, or take a rail out",
    )


def _of_tier(steps: Sequence[Step], took_s: Callable[[Step], float]) -> float:
    rewriting = sum(took_s(step) for step in steps if step.rewrites)
    return rewriting + max((took_s(step) for step in steps if not step.rewrites), default=0.0)
