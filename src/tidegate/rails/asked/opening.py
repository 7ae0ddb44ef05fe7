"""Opens the rails that ask models or other services, for as long as a configuration is in force."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AsyncExitStack
from functools import partial

from tidegate.errors import ConfigError, Problem
from tidegate.ports import Opened, Services
from tidegate.rails.foreign import awaited
from tidegate.rails.plan import Plan

log = logging.getLogger(__name__)


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
            wrong = await awaited(rail.open(services), partial(_cannot_be_opened, step.name))
            if wrong:
                path = f"rails.profiles.{plan.name}.rails[{places[step.name]}]"
                problems.append(Problem(path, wrong))
            else:
                loans.push_async_callback(rail.close)
    if problems:
        raise ConfigError("cannot start", problems)


def _cannot_be_opened(name: str, error: BaseException) -> str:
    """Return why a rail cannot be opened."""
    if isinstance(error, ValueError):
        return str(error)
    # The message of a rail of another package may hold secrets, so only the log gets it.
    log.error("the rail '%s' cannot be opened", name, exc_info=error)
    return f"cannot be opened: {type(error).__name__}; the log says more"
