"""The models of `/v1/moderations`: each is a name for a profile of rails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from tidegate.config.rails import MODERATION, OMNI, RailsConfig
from tidegate.errors import ConfigError, Problem, RailFailed
from tidegate.rails.plan import Plan, compile_plans
from tidegate.types import Surface

_NO_SECTION = RailsConfig()


Opens = Callable[[Plan], Awaitable[None]]


class Moderators:
    """Finds the rails of a model. Those of the built-in profile are made when the first request needs them."""

    def __init__(self, config: RailsConfig = _NO_SECTION, plans: Mapping[str, Plan] | None = None) -> None:
        """`plans` are those of all profiles that the configuration names.

        Raises ConfigError for a model whose profile checks no texts of users.
        """
        self._config = config
        self._profiles = config.moderators
        self._plans = {name: plan for name, plan in (plans or {}).items() if name in self._profiles.values()}
        self._making = asyncio.Lock()
        self.opens: Opens = _open_nothing
        """Opens the rails of a plan that is made late. Raises ConfigError."""
        problems = [
            Problem(
                f"rails.moderation.{model}",
                f"the profile '{profile}' checks no texts of users: give one of its rails the surface `input`, or name"
                " another profile here",
            )
            for model, profile in {OMNI: self._profiles[OMNI], **config.moderation}.items()
            if not self._judges(profile)
        ]
        if problems and plans is not None:
            raise ConfigError("cannot start", problems)

    @property
    def models(self) -> Iterable[str]:
        """The names of all models."""
        return self._profiles

    @property
    def plans(self) -> Iterable[Plan]:
        """The rails that are made already."""
        return self._plans.values()

    def _judges(self, profile: str) -> bool:
        """Return whether a profile checks what users write, as the built-in one does, which is made later."""
        if profile in self._plans:
            return checks_users(self._plans[profile])
        return profile == MODERATION and profile not in self._config.profiles

    async def plan(self, model: str) -> Plan:
        """Return the rails of a model.

        Raises KeyError for a model that is not there, and RailFailed if its rails cannot be opened.
        """
        profile = self._profiles[model]
        if profile not in self._plans:
            async with self._making:
                if profile not in self._plans:
                    self._plans[profile] = await self._made()
        return self._plans[profile]

    async def _made(self) -> Plan:
        plan = await asyncio.to_thread(_built_in, self._config)
        try:
            await self.opens(plan)
        except ConfigError as error:
            told = "; ".join(dict.fromkeys(one.message for one in error.problems))
            raise RailFailed(f"The profile '{plan.name}' cannot be used: {told}") from error
        return plan


async def _open_nothing(plan: Plan) -> None:
    del plan


def checks_users(plan: Plan) -> bool:
    """Return whether a rail of a plan checks what users write."""
    return any(Surface.INPUT in step.surfaces for step in (*plan.input_rules, *plan.input_checks))


def _built_in(config: RailsConfig) -> Plan:
    return compile_plans(config.model_copy(update={"profiles": {}}), [MODERATION])[MODERATION]
