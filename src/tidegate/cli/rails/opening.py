"""Opens the rails of a profile that ask models or services, as a gateway does: with its engines, and without its server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from tidegate.cli.rails.choosing import Chosen
from tidegate.config import Config, PolicyConfig, ServerConfig
from tidegate.config.rails import NO_RAILS
from tidegate.errors import ConfigError, Problem
from tidegate.gateway import Gateway
from tidegate.rails.asked.opening import open_rails
from tidegate.running import probe_all
from tidegate.snapshot import RailServices, Snapshot


@asynccontextmanager
async def opened(chosen: Chosen) -> AsyncGenerator[None]:
    """Open the rails of a plan. Raises ConfigError if one cannot work as it is configured, or its model be reached."""
    async with Gateway(_without_callers(chosen.config)) as gateway, AsyncExitStack() as loans:
        snapshot = gateway.snapshot
        services = RailServices(gateway.runtime, snapshot.answer, snapshot.models)
        await open_rails([chosen.plan], services, loans)
        await _check_engines(chosen, snapshot)
        yield


def _without_callers(config: Config) -> Config:
    """Return what of a configuration serves models. A command opens no store, and writes no log and no case."""
    return Config().model_copy(
        update={
            "server": ServerConfig(access_log="none"),
            "engines": config.engines,
            "models": config.models,
            "queue": config.queue,
            "policies": {"default": PolicyConfig(rails=NO_RAILS)},
        }
    )


async def _check_engines(chosen: Chosen, snapshot: Snapshot) -> None:
    """Raise ConfigError if no engine of a model that a rail asks can be reached."""
    names = {step.name for step in chosen.steps}
    problems: list[Problem] = []
    for rail, model in chosen.plan.asks.items():
        if rail not in names:
            continue
        route, deployments = snapshot.models.find(model)
        engines = [snapshot.engines[one.engine_name] for one in deployments]
        await probe_all(engines)
        if any(one.ready for one in engines) or route in snapshot.models.fallbacks:
            continue
        problems += [
            Problem(
                f"engines.{one.name}",
                f"{one.why or 'is not ready'}; the rail '{rail}' asks the model '{model}' there",
            )
            for one in engines
        ]
    if problems:
        raise ConfigError("a model cannot be asked", list(dict.fromkeys(problems)))
