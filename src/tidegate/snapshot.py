"""What lives as long as one configuration: its models and its pipeline, on engines borrowed from the runtime.

A request takes one snapshot at entry and keeps it. A snapshot that was replaced gives its engines back when its last call
has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from tidegate.call import Call
from tidegate.config import Config, ServerConfig, digest
from tidegate.dispatch.deployments import Deployment, Models
from tidegate.errors import ConfigError, GatewayError, Problem
from tidegate.pipeline import Parts, Pipeline, the_way
from tidegate.policy import DEFAULT, Policy
from tidegate.ports import Sink
from tidegate.runtime import RunningEngine, Runtime
from tidegate.telemetry.access import AccessLog
from tidegate.types import Reply

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

    @asynccontextmanager
    async def ask(self, call: Call) -> AsyncGenerator[Reply]:
        """Make a call of the gateway's own: `async with snapshot.ask(call) as reply`. Its end gives back what it holds.

        It begins at `admit`. One with a parent is part of the parent's books; one without is observed for itself. Raises
        the GatewayError that refuses it.
        """
        self.enter()
        try:
            async with call.exit:
                if call.parent is None:
                    await self.pipeline.greet(call)
                yield await self.pipeline.run(call, begin="admit")
        finally:
            self.leave()

    async def retire(self) -> None:
        """Wait for the calls that are still inside, then give the engines back."""
        while self.calls:
            self._empty.clear()
            await self._empty.wait()
        await self._loans.aclose()


async def assemble(config: Config, runtime: Runtime, *, server: ServerConfig | None = None) -> Snapshot:
    """Build a snapshot. Raises ConfigError for an engine that cannot be opened; then nothing was changed.

    `server` holds instead of that section of the configuration, because it lasts as long as the process.
    """
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
        parts = Parts(
            clock=runtime.clock,
            wall=runtime.wall,
            sinks=[runtime.metrics, *_access_log(server or config.server, runtime)],
            policies={DEFAULT: default_policy(config, server or config.server)},
            models=models,
            queue=runtime.queue,
        )
        pipeline = Pipeline(the_way(parts), runtime.clock)
        return Snapshot(config, models, pipeline, engines, loans.pop_all())
    raise AssertionError("unreachable: the stack swallows nothing")


def _access_log(server: ServerConfig, runtime: Runtime) -> list[Sink]:
    return [] if server.access_log == "none" else [AccessLog(server.access_log, runtime.wall)]


def default_policy(config: Config, server: ServerConfig) -> Policy:
    """The policy of everybody, until there are keys."""
    return Policy(
        DEFAULT,
        max_body_bytes=server.max_body_bytes,
        deadline_s=server.call_deadline_s,
        digest=bytes.fromhex(digest(config)),
    )


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
