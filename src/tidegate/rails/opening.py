"""Opens the rails that ask models or other services, for as long as a configuration is in force."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack

from tidegate.errors import ConfigError, Problem
from tidegate.ports import Opened, Services
from tidegate.rails.plan import Plan


async def open_rails(plans: Iterable[Plan], services: Services, loans: AsyncExitStack) -> None:
    """Open the rails of some plans. They are closed with `loans`.

    Raises ConfigError with every rail that cannot work as it is configured.
    """
    problems: list[Problem] = []
    seen: set[int] = set()
    for plan in plans:
        places = {rail.name or rail.kind: at for at, rail in enumerate(plan.profile.rails)}
        for step in plan.steps:
            rail = step.rail
            if not isinstance(rail, Opened) or id(rail) in seen:
                continue
            seen.add(id(rail))
            try:
                await rail.open(services)
            except ValueError as error:
                path = f"rails.profiles.{plan.name}.rails[{places[step.name]}]"
                problems.append(Problem(path, str(error)))
            else:
                loans.push_async_callback(rail.close)
    if problems:
        raise ConfigError("cannot start", problems)
