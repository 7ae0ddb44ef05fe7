"""What lives as long as one configuration: its models and its pipeline, on engines borrowed from the runtime.

A request takes one snapshot at entry and keeps it. A snapshot that was replaced gives its engines back when its last call
has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack

from tidegate.config import Config
from tidegate.errors import ConfigError, GatewayError, Problem
from tidegate.pipeline import Pipeline, the_way
from tidegate.runtime import RunningEngine, Runtime
from tidegate.stages.route import Models
from tidegate.types import Deployment

log = logging.getLogger(__name__)


class Snapshot:
    """One configuration, ready to serve. Count calls in and out with `enter` and `leave`."""

    def __init__(
        self,
        config: Config,
        models: Models,
        pipeline: Pipeline,
        engines: Mapping[str, RunningEngine],
        loans: AsyncExitStack,
    ) -> None:
        self.config = config
        self.models = models
        self.pipeline = pipeline
        self.engines = engines
        self.calls = 0
        self._loans = loans
        self._empty = asyncio.Event()

    def enter(self) -> None:
        """A call begins."""
        self.calls += 1

    def leave(self) -> None:
        """A call has ended."""
        self.calls -= 1
        if self.calls == 0:
            self._empty.set()

    async def retire(self) -> None:
        """Wait for the calls that are still inside, then give the engines back."""
        while self.calls:
            self._empty.clear()
            await self._empty.wait()
        await self._loans.aclose()


async def assemble(config: Config, runtime: Runtime) -> Snapshot:
    """Build a snapshot. Raises ConfigError for an engine that cannot be opened; then nothing was changed."""
    async with AsyncExitStack() as loans:
        engines: dict[str, RunningEngine] = {}
        for name, settings in config.engines.items():
            try:
                running = await runtime.borrow(name, settings)
            except GatewayError as error:
                raise ConfigError("cannot start", [Problem(f"engines.{name}", error.message)]) from error
            except ConfigError:
                raise
            except Exception as error:
                # An adapter from outside may raise anything. Its words may hold secrets: they are for the log alone.
                log.exception("engine %s cannot be opened", name)
                found = f"cannot be opened: {type(error).__name__}; the log says more"
                raise ConfigError("cannot start", [Problem(f"engines.{name}", found)]) from error
            loans.push_async_callback(runtime.give_back, running)
            engines[name] = running
        models = Models(_deployments(config, engines))
        pipeline = Pipeline(the_way(models, [runtime.metrics], runtime.clock, runtime.queue), runtime.clock)
        return Snapshot(config, models, pipeline, engines, loans.pop_all())
    raise AssertionError("unreachable: the stack swallows nothing")


def _deployments(config: Config, engines: dict[str, RunningEngine]) -> dict[str, list[Deployment]]:
    found: dict[str, list[Deployment]] = {}
    for name, model in config.models.items():
        found[name] = [
            Deployment(
                chosen.engine, engines[chosen.engine].engine, engines[chosen.engine].seats, chosen.model
            )
            for chosen in model.deployments
        ]
    return found
