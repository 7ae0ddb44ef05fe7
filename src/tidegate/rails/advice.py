"""Warnings about profiles of rails that can run but most likely have a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tidegate.errors import Problem
from tidegate.rails.checking import JUDGE_TIER
from tidegate.rails.plan import Plan
from tidegate.rails.step import Step


def warnings(plans: Iterable[Plan]) -> list[Problem]:
    """Return the warnings, each with the path of its setting: rails that take longer than the time that they have."""
    return [problem for plan in plans for problem in (*_timeouts(plan), *_budgets(plan))]


def _timeouts(plan: Plan) -> Iterator[Problem]:
    steps = {step.name: step for step in plan.steps}
    for at, rail in enumerate(plan.profile.rails):
        usual_ms = steps[rail.name or rail.kind].about.usual_ms
        if rail.timeout_ms is not None and usual_ms > rail.timeout_ms:
            yield Problem(
                f"rails.profiles.{plan.name}.rails[{at}].timeout_ms",
                f"'{rail.kind}' usually takes {usual_ms:g} ms, so `on_error` decides most texts: allow more",
            )


def _budgets(plan: Plan) -> Iterator[Problem]:
    ways = {
        "requests": (*plan.input_rules, *plan.input_checks),
        "answers": (*plan.output_rules, *plan.output_checks),
    }
    for what, steps in ways.items():
        judges = [step for step in steps if step.about.tier >= JUDGE_TIER]
        others = [step for step in steps if step.about.tier < JUDGE_TIER]
        for some, setting, budget_s in (
            (others, "rails.budget_ms", plan.budget_s),
            (judges, "rails.judge_budget_ms", plan.judge_budget_s),
        ):
            if (needed_ms := usual_ms(some)) > budget_s * 1000:
                yield Problem(
                    f"rails.profiles.{plan.name}",
                    f"its rails usually take {needed_ms:g} ms for {what}, and {setting} is {budget_s * 1000:g} ms:"
                    " allow more, or `on_error` decides",
                )


def usual_ms(steps: Iterable[Step]) -> float:
    """Return how long rails usually take, in milliseconds: rules and those that change texts one after the other."""
    after_another, at_once = 0.0, dict[int, float]()
    for step in steps:
        about = step.about
        if step.rewrites or about.tier == 0:
            after_another += about.usual_ms
        else:
            at_once[about.tier] = max(
                at_once.get(about.tier, 0.0), min(about.usual_ms, step.timeout_s * 1000)
            )
    return after_another + sum(at_once.values())
