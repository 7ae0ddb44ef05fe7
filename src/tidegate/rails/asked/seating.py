"""What rails that ask models need of other sections of the configuration: their models, and seats on engines.

A call holds its engine's seat while a rail judges the passages of its stream, or its request beside the engine. If the
rail's model is on the same engine, the rail needs a seat that such calls never get.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from tidegate.config import Config, PolicyConfig
from tidegate.errors import Problem
from tidegate.kernel.patterns import Patterns
from tidegate.rails.asked.asking import AskingConfig
from tidegate.rails.plan import Plan
from tidegate.rails.step import Step
from tidegate.types import Surface

SlotsOf = Callable[[str], int | None]
"""A function that returns how many seats an engine reports, by its name; None if it reports none."""


def crowded(config: Config, plans: Mapping[str, Plan], slots: SlotsOf) -> list[Problem]:
    """Return a problem for each engine on which the calls of a rail may find no seat while a call waits for them.

    `plans` has the plans of all profiles that policies name.
    """
    found: dict[Problem, None] = {}
    for policy in {"default": PolicyConfig(), **config.policies}.values():
        generating = _engines(config, Patterns(policy.models))
        named, stricter = policy.profiles
        for profile in (named, *stricter):
            if profile in plans:
                found.update(dict.fromkeys(_of_plan(config, plans[profile], slots, generating)))
    return list(found)


def _of_plan(config: Config, plan: Plan, slots: SlotsOf, generating: Collection[str]) -> Iterator[Problem]:
    steps = {step.name: step for step in (*plan.steps, *plan.markers)}
    for rail in plan.profile.rails:
        step = steps[rail.name or rail.kind]
        fix = _fix(plan, step)
        if not (fix and isinstance(rail, AskingConfig)):
            continue
        asked = _asked(config, rail.model)
        if asked and all(_has_none(config, name, slots, generating) for name in asked):
            name = asked[0]
            yield Problem(
                f"engines.{name}.reserved_seats",
                f"the rail '{step.name}' of the profile '{plan.name}' asks the model '{rail.model}' on this engine, where"
                " the calls that wait for its verdict may have all seats: set reserved_seats to 1 or more and"
                f" max_in_flight to 2 or more, or {fix}, or leave the models of this engine out of the policy's `models`",
            )


def _fix(plan: Plan, step: Step) -> str:
    """Return what else could be set so that no call holds a seat while this rail checks its texts; empty if none does."""
    if Surface.OUTPUT in step.surfaces and not any(
        one.whole for one in plan.output_checks + plan.output_rules
    ):
        return "`hold: whole` for the rail"
    if plan.races and step.surfaces - {Surface.OUTPUT}:
        return "`race: false` for the profile"
    return ""


def _has_none(config: Config, name: str, slots: SlotsOf, generating: Collection[str]) -> bool:
    """Whether the calls of clients may have all seats of an engine."""
    if name not in generating:
        return False
    engine = config.engines[name]
    # Without a number here, calls are limited by the connections alone, which are many.
    limit = engine.max_in_flight or slots(name)
    return limit is not None and min(engine.reserved_seats, limit - 1) < 1


def _engines(config: Config, allowed: Patterns) -> frozenset[str]:
    """Return the engines that serve any of the allowed models."""
    return frozenset(
        one.engine
        for name, model in config.models.items()
        if any(True for _ in allowed.within(name))
        for one in model.deployments
    )


def unknown_models(config: Config, plans: Mapping[str, Plan]) -> list[Problem]:
    """Return a problem for each rail of some profiles that asks a model which is not configured."""
    return [
        Problem(
            f"rails.profiles.{plan.name}.rails[{at}].model",
            f"there is no model '{rail.model}' under models; there are: {', '.join(sorted(config.models))}",
        )
        for plan in plans.values()
        for at, rail in enumerate(plan.profile.rails)
        if isinstance(rail, AskingConfig) and not _asked(config, rail.model)
    ]


def _asked(config: Config, name: str) -> list[str]:
    """Return the engines of a model, which is found as `Models` finds it; none for one that is not configured."""
    prefixes = [one for one in config.models if one.endswith("*") and name.startswith(one[:-1])]
    found = name if name in config.models else max(prefixes, key=len, default="")
    return [one.engine for one in config.models[found].deployments] if found else []
