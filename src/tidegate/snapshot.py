"""Snapshots: the parts that live as long as one configuration, on engines borrowed from the runtime.

A snapshot has the models and the pipeline of its configuration. A request takes one snapshot at entry and keeps it. After a
reload, the replaced snapshot gives its engines back when its last call has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple, NoReturn, TypeVar

import msgspec

from tidegate.call import Call, internal_call
from tidegate.config import Config, DeploymentConfig, HttpEngineConfig, ServerConfig
from tidegate.config.unenforced import check_enforced
from tidegate.dispatch.deployments import Deployment, Fallbacks, Models, in_header
from tidegate.dispatch.seats import Seats
from tidegate.dispatch.standing import Standing
from tidegate.errors import ConfigError, GatewayError, ModelNotFound, Problem, UpstreamError
from tidegate.pipeline import Parts, Pipeline, the_way, way_of_checks, way_of_moderations
from tidegate.ports import Clock, Detects, Embedder, Engine, Identifies, Internal, Sink, Spawn, Wall
from tidegate.rails.asked.opening import open_rails
from tidegate.rails.asked.seating import crowded
from tidegate.rails.foreign import awaited
from tidegate.rails.warming import warm_up
from tidegate.review.desk import Desk
from tidegate.review.place import asks_people
from tidegate.running import RunningEngine, RunningStore
from tidegate.runtime import Runtime
from tidegate.stages.authenticate import authenticate_for
from tidegate.stages.counting import Counting
from tidegate.stages.limit import Limiting
from tidegate.stages.railed import Railed
from tidegate.stages.recall import Recall
from tidegate.telemetry.access import AccessLog
from tidegate.telemetry.audit import Audit
from tidegate.types import Capabilities, Parent, Piece, Reply

T = TypeVar("T")

log = logging.getLogger(__name__)


class Borrowed(NamedTuple):
    """What a snapshot has borrowed from the runtime, by name. Closing `loans` gives all of it back.

    Closing `rails` closes the rails alone.
    """

    engines: Mapping[str, RunningEngine]
    stores: Mapping[str, RunningStore]
    loans: AsyncExitStack
    rails: AsyncExitStack
    desk: Desk | None = None


class Snapshot:
    """One configuration, ready to serve. The caller counts calls in and out with `enter` and `leave`."""

    def __init__(
        self,
        config: Config,
        parts: Parts,
        pipeline: Pipeline,
        borrowed: Borrowed,
    ) -> None:
        self.config = config
        self.models = parts.models
        self.authenticate = parts.authenticate
        self.limit = parts.limit
        self.pipeline = pipeline
        self.checking = Pipeline(way_of_checks(parts), parts.clock)
        self.moderating = Pipeline(way_of_moderations(parts), parts.clock)
        self.engines = borrowed.engines
        self.stores = borrowed.stores
        self.desk = borrowed.desk
        """The cases of the reviewers; None where no rail asks people."""
        self.calls = 0
        self._clock = parts.clock
        self._loans = borrowed.loans
        self.close_rails = borrowed.rails.aclose
        """Closes the rails that ask others; for the last snapshot of a gateway, whose runtime closes everything else."""
        self._empty = asyncio.Event()

    def enter(self) -> None:
        """Count a call that begins."""
        self.calls += 1

    def leave(self) -> None:
        """Count a call that has ended."""
        self.calls -= 1
        if self.calls == 0:
            self._empty.set()

    @asynccontextmanager
    async def ask(self, call: Call) -> AsyncGenerator[Reply]:
        """Make an internal call: `async with snapshot.ask(call) as reply`. Leaving the block releases what the call holds.

        The call begins at the stage `admit`. A call with a parent is recorded as part of its parent; a call without one is
        observed by itself. Raises the GatewayError that refuses the call.
        """
        self.enter()
        try:
            async with call.exit:
                if call.parent is None:
                    await self.pipeline.greet(call)
                yield await self.pipeline.run(call, begin="admit")
        finally:
            self.leave()

    async def answer(
        self,
        model: str,
        fields: Mapping[str, msgspec.Raw],
        *,
        purpose: str,
        of: Parent | None,
        deadline: float,
    ) -> Piece:
        """Make an internal call under this configuration and return its whole answer. Satisfies `Internal`."""
        call = internal_call(model, fields, purpose=purpose, of=of, now=self._clock(), deadline=deadline)
        # As `ask` does, without the generator of its context manager, which every check of a rail would pay for.
        self.enter()
        try:
            async with call.exit:
                if of is None:
                    await self.pipeline.greet(call)
                reply = await self.pipeline.run(call, begin="admit")
                pieces = [piece async for batch in reply.pieces for piece in batch]
        finally:
            self.leave()
        if len(pieces) != 1:
            raise UpstreamError("the engine gave no complete answer")
        return pieces[0]

    async def retire(self) -> None:
        """Wait for the calls that still run, then give the engines and stores back."""
        while self.calls:
            self._empty.clear()
            await self._empty.wait()
        await self._loans.aclose()


class RailServices:
    """What rails get that ask models. Satisfies `Services`."""

    def __init__(self, runtime: Runtime, ask: Internal, models: Models) -> None:
        self.clock: Clock = runtime.clock
        self.wall: Wall = runtime.wall
        self.spawn: Spawn = runtime.spawn
        self.embedder: Embedder = runtime.embedder
        self.detector: Detects = runtime.detector
        self.ask = ask
        self._models = models

    def engines_of(self, model: str) -> Sequence[Capabilities]:
        """Return the capabilities of the engines that serve a model. Raises ValueError if it is not configured."""
        try:
            return [one.engine.capabilities for one in self._models.find(model)[1]]
        except ModelNotFound as error:
            raise ValueError(error.message) from error


async def assemble(config: Config, runtime: Runtime, *, server: ServerConfig | None = None) -> Snapshot:
    """Build a snapshot. Raises ConfigError for an engine or a store that cannot be opened, and changes nothing then.

    `server` replaces that section of the configuration: the server settings of the start apply until the process ends.
    """
    check_enforced(config)
    async with AsyncExitStack() as loans:
        stores: dict[str, RunningStore] = {}
        for name, store in config.stores.items():
            stores[name] = await _opened(f"stores.{name}", runtime.borrow_store(name, store))
            loans.push_async_callback(runtime.give_back_store, stores[name])
        engines: dict[str, RunningEngine] = {}
        for name, engine in config.engines.items():
            engines[name] = await _opened(f"engines.{name}", runtime.borrow(name, engine))
            loans.push_async_callback(runtime.give_back, engines[name])
        models = _models(config, engines, runtime, exposed=(server or config.server).expose_engines)
        keys = await runtime.identifies(config, loans)
        desk = await runtime.desk(config, loans) if asks_people(config) else None
        parts = await _parts(config, runtime, server or config.server, models, keys, desk)
        pipeline = Pipeline(the_way(parts), runtime.clock)
        own, rails = AsyncExitStack(), AsyncExitStack()
        loans.push_async_callback(rails.aclose)
        snapshot = Snapshot(config, parts, pipeline, Borrowed(engines, stores, own, rails, desk))
        parts.recall.make_with(snapshot.ask, runtime.spawn)
        services = RailServices(runtime, snapshot.answer, models)
        policies = parts.authenticate.policies
        plans = {plan.name: plan for plan in [*policies.plans(), *policies.moderators.plans]}
        await open_rails(plans.values(), services, rails)
        policies.moderators.opens = lambda plan: open_rails([plan], services, rails)
        if problems := crowded(config, plans, lambda name: engines[name].engine.capabilities.slots):
            raise ConfigError("cannot start", problems)
        own.push_async_exit(loans.pop_all())
        return snapshot
    raise AssertionError("unreachable: the exit stack suppresses no exception")


async def _parts(
    config: Config,
    runtime: Runtime,
    server: ServerConfig,
    models: Models,
    keys: Identifies,
    desk: Desk | None,
) -> Parts:
    """The parts of a snapshot. `server` are the server's settings in force, `keys` has every key of the gateway."""
    generation = next(runtime.quotas.generations)
    authenticate = authenticate_for(config, server, keys, generation=generation)
    counting = Counting(models)
    if authenticate.policies.count_tokens:
        counting = Counting(models, await runtime.vocabulary())
    plans = list(authenticate.policies.plans())
    for plan in dict.fromkeys([*plans, *authenticate.policies.moderators.plans]):
        warm_up(plan)
    rail_sinks = _rail_sinks(config, runtime)
    return Parts(
        clock=runtime.clock,
        wall=runtime.wall,
        sinks=[
            runtime.metrics,
            *_access_log(server, runtime),
            *(rail_sinks if plans else ()),
        ],
        authenticate=authenticate,
        limit=Limiting(runtime.quotas, counting, runtime.clock, idle=not authenticate.policies.have_limits),
        recall=Recall(runtime.answers, models, runtime.clock),
        models=models,
        queue=runtime.queue,
        lengths=runtime.lengths,
        railed=Railed(
            models,
            runtime.clock,
            runtime.wall,
            _audit_key(config, runtime),
            runtime.abandoned,
            reviewer=desk,
        ),
        screens=any(plan.input_rules for plan in plans),
        guards=any(plan.input_checks for plan in plans),
        structures={name: model.structure for name, model in config.models.items()},
        rail_sinks=rail_sinks,
    )


async def _opened(section: str, borrowed: Awaitable[T]) -> T:
    """Return a borrowed part. Raises ConfigError if the part of this section cannot be opened."""
    return await awaited(borrowed, partial(_cannot_be_opened, section))


def _cannot_be_opened(section: str, error: BaseException) -> NoReturn:
    if isinstance(error, ConfigError):
        raise error
    if isinstance(error, GatewayError):
        raise ConfigError("cannot start", [Problem(section, error.message)]) from error
    # A part from another package may raise anything. Its message may hold secrets, so only the log gets it.
    log.error("%s cannot be opened", section, exc_info=error)
    found = f"cannot be opened: {type(error).__name__}; the log says more"
    raise ConfigError("cannot start", [Problem(section, found)]) from error


def _audit_key(config: Config, runtime: Runtime) -> bytes:
    key = config.rails.audit_key
    return runtime.audit_key if key is None else key.get_secret_value().encode()


def _rail_sinks(config: Config, runtime: Runtime) -> list[Sink]:
    path = config.rails.audit_path
    return [runtime.rail_metrics, *([] if path is None else [Audit(path, runtime.wall)])]


def _access_log(server: ServerConfig, runtime: Runtime) -> list[Sink]:
    return [] if server.access_log == "none" else [AccessLog(server.access_log, runtime.wall)]


def _models(
    config: Config, engines: Mapping[str, RunningEngine], runtime: Runtime, *, exposed: bool
) -> Models:
    fallbacks = {
        name: Fallbacks(model.fallbacks, model.fallbacks_on_context, model.fallbacks_on_refusal)
        for name, model in config.models.items()
        if model.fallbacks or model.fallbacks_on_context or model.fallbacks_on_refusal
    }
    found = _deployments(config, engines, runtime, exposed=exposed)
    continued = [name for name, model in config.models.items() if model.continues]
    hedged = [name for name, model in config.models.items() if model.hedges]
    return Models(found, affinities_of(config), fallbacks, continued, hedged)


def _deployments(
    config: Config, engines: Mapping[str, RunningEngine], runtime: Runtime, *, exposed: bool
) -> dict[str, list[Deployment]]:
    def deployment(name: str, chosen: DeploymentConfig) -> Deployment:
        running = engines[chosen.engine]
        label = f"model {chosen.model or name} on engine {chosen.engine}"
        standing = Standing(label, running.credentials, runtime.clock)
        found = deployment_of(chosen, running.engine, running.seats, standing, exposed=exposed)
        settings = config.engines[chosen.engine]
        continues = isinstance(settings, HttpEngineConfig) and settings.continues
        health = runtime.health_of(chosen.engine, chosen.model or name, settings)
        return msgspec.structs.replace(found, health=health, continues=continues)

    return {
        name: [deployment(name, chosen) for chosen in model.deployments]
        for name, model in config.models.items()
    }


def affinities_of(config: Config) -> dict[str, str]:
    """Return the setting `affinity` by the name of a model."""
    return {name: model.affinity for name, model in config.models.items()}


def deployment_of(
    chosen: DeploymentConfig,
    engine: Engine,
    seats: Seats,
    standing: Standing | None = None,
    *,
    exposed: bool = False,
) -> Deployment:
    """Return a deployment of a model with its settings. Clients are told its engine if it is `exposed`."""
    known = engine.capabilities.can
    given = {
        "tools": chosen.tools,
        "vision": chosen.vision,
        "schemas": chosen.schemas,
        "context_tokens": chosen.context_tokens,
    }
    can = msgspec.structs.replace(
        known, **{name: value for name, value in given.items() if value is not None}
    )
    return Deployment(
        chosen.engine,
        engine,
        seats,
        chosen.model,
        standing,
        weight=chosen.weight,
        tier=chosen.tier,
        tags=frozenset(chosen.tags),
        can=can,
        shown=f";engine={in_header(chosen.engine)}" if exposed else "",
    )
