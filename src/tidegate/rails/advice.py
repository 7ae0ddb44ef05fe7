"""Warnings about profiles of rails that can run but most likely have a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tidegate.errors import Problem
from tidegate.rails.budgets import critical_path
from tidegate.rails.plan import Plan
from tidegate.rails.step import Step


def warnings(plans: Iterable[Plan]) -> list[Problem]:
    """Return the warnings, each with the path of its setting: rails that take longer than the time that they have."""
    return [problem for plan in plans for problem in (*_timeouts(plan), *_budgets(plan))]


def _timeouts(plan: Plan) -> Iterator[Problem]:
    steps = {step.name: step for step in (*plan.steps, *plan.markers)}
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
        needed = critical_path(steps, _usual_s)
        for setting, needed_ms, budget_ms in (
            ("rails.budget_ms", _ms(needed.usual_s), _ms(plan.budget_s)),
            ("rails.judge_budget_ms", _ms(needed.judges_s), _ms(plan.judge_budget_s)),
        ):
            if needed_ms > budget_ms:
                yield Problem(
                    f"rails.profiles.{plan.name}",
                    f"its rails usually take {needed_ms:g} ms for {what}, and {setting} is {budget_ms:g} ms:"
                    " allow more, or `on_error` decides",
                )


def _ms(seconds: float) -> float:
    """Seconds in milliseconds, without what a sum of fractions is off by."""
    return round(seconds * 1000, 6)


def _usual_s(step: Step) -> float:
    """The time that a rail usually takes: what it declares, but no longer than it may."""
    return min(step.about.usual_ms / 1000, step.timeout_s)
