"""The profile that a command is about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from cyclopts import Parameter

from tidegate.cli import settings
from tidegate.config import Config
from tidegate.config.rails import NO_RAILS, RULES, RailsConfig
from tidegate.errors import ConfigError
from tidegate.policy import DEFAULT
from tidegate.ports import Opened
from tidegate.rails.plan import Plan, Step, compile_plans
from tidegate.rails.profiles import BUILT_IN
from tidegate.types import Caller, Scene, Surface, Text

ConfigPath = Annotated[Path | None, Parameter(("--config", "-c"))]
Profile = Annotated[str, Parameter(("--profile", "-p"), show_default=False)]
OnSurface = Annotated[
    Literal["input", "system", "retrieval", "tool", "output"], Parameter(("--surface", "-s"))
]
AsJson = Annotated[bool, Parameter("--json", negative="")]
_ENDLESS = float("inf")
T = TypeVar("T")


class Chosen(NamedTuple):
    """A plan, and the rails of it that check texts of one surface: the rules, and those of the tiers above.

    `config` is the configuration that has the models which rails ask.
    """

    config: Config
    plan: Plan
    surface: Surface
    rules: Sequence[Step]
    checks: Sequence[Step]

    @property
    def steps(self) -> list[Step]:
        """All of them, in the order in which they run."""
        return [*self.rules, *self.checks]


def chosen(config: Path | None, profile: str, surface: str, *, forgets: bool = False) -> Chosen:
    """Return the plan of a profile, by default that of the policy `default`, or else `rules`.

    If it `forgets`, no rail remembers verdicts, so that each check of one text takes the time of the first.

    Ends with status 2 if there is no such profile, or if no rail of it checks texts of the surface.
    """
    loaded, path = settings.load(config)
    if not profile:
        policy = loaded.policies.get(DEFAULT)
        profile = policy.rails if policy is not None and policy.rails != NO_RAILS else RULES
    known = sorted({*BUILT_IN, *loaded.rails.profiles})
    if profile not in known:
        settings.fail(
            f"{path or 'the built-in configuration'} has no profile '{profile}' with rails; there are: {', '.join(known)}"
        )
    try:
        rails = _forgetful(loaded.rails, profile) if forgets else loaded.rails
        plan = compile_plans(rails, [profile]).get(profile)
    except ConfigError as error:
        settings.fail(str(ConfigError(str(path or "the built-in configuration"), error.problems)))
    if plan is None or not plan.steps:
        settings.fail(f"the profile '{profile}' has no rails: list some under rails.profiles.{profile}.rails")
    at = Surface(surface)
    sides = (
        (plan.output_rules, plan.output_checks)
        if at is Surface.OUTPUT
        else (plan.input_rules, plan.input_checks)
    )
    rules, checks = ([step for step in side if at in step.surfaces] for side in sides)
    if not rules and not checks:
        others = sorted({one.value for step in plan.steps for one in step.surfaces})
        settings.fail(
            f"no rail of the profile '{profile}' checks the surface '{surface}': give --surface one of"
            f" {', '.join(others)}, or add the surface to `surfaces` of a rail"
        )
    return Chosen(loaded, plan, at, rules, checks)


def _forgetful(section: RailsConfig, profile: str) -> RailsConfig:
    """Return the section with a profile whose rails remember nothing."""
    found = {**BUILT_IN, **section.profiles}[profile]
    rails = [
        one.model_copy(update={"cache_s": 0.0}) if "cache_s" in type(one).model_fields else one
        for one in found.rails
    ]
    forgets = found.model_copy(update={"rails": tuple(rails)})
    return section.model_copy(update={"profiles": {**section.profiles, profile: forgets}})


def asking(chosen: Chosen) -> frozenset[str]:
    """Return the names of the rails that ask a model or a service."""
    return frozenset(step.name for step in chosen.steps if isinstance(step.rail, Opened))


def run(chosen: Chosen, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return the result of some work with the rails of a plan, which are open meanwhile.

    Ends with status 2 if a rail cannot work as it is configured, or if its model cannot be reached.
    """
    if not asking(chosen):
        return asyncio.run(work())
    # Only rails that ask need the request path and the engines.
    from tidegate.cli.rails.opening import opened  # noqa: PLC0415

    async def with_rails() -> T:
        async with opened(chosen):
            return await work()

    try:
        return asyncio.run(with_rails())
    except ConfigError as error:
        settings.fail(str(error))


def scene(text: Text, prompt: str) -> Scene:
    """Return the context of a text that no call has: nobody has sent it, and nothing limits its time."""
    tokens = len(prompt.encode("utf-8", "surrogatepass")) // 4
    return Scene(text.where, text.surface, Caller(), _ENDLESS, text.role, prompt_tokens=tokens)
