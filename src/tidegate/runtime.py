"""The parts that live as long as the process: engines with their seats, stores, keys, quotas, metrics, background tasks.

Engines are stored by the digest of their settings. So a reload that does not change an engine's settings keeps the running
engine. An engine is closed once no snapshot borrows it any more. The same holds for stores.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from prometheus_client.core import Metric

from tidegate import registry
from tidegate.access.configured import configured_keys, peppers_of
from tidegate.access.directory import Directory
from tidegate.access.either import KeysAndTokens
from tidegate.caches.answers import Answers
from tidegate.call import Call
from tidegate.config import (
    Config,
    EngineConfig,
    JwtConfig,
    QueueConfig,
    StoreConfig,
    engine_digest,
    issuer_digest,
    store_digest,
)
from tidegate.dispatch.health import Health
from tidegate.dispatch.metrics import QueueMetrics, health_metrics
from tidegate.dispatch.queue import Queue
from tidegate.dispatch.rules import rules_of
from tidegate.dispatch.seats import Seats
from tidegate.errors import ConfigError, Problem
from tidegate.kernel.breaker import BreakerRules
from tidegate.lending import Lending
from tidegate.models.detecting import Detector
from tidegate.models.embedding import MiniLm
from tidegate.ports import Clock, CountsOddities, Detects, Embedder, Engine, Identifies, Internal, Store, Wall
from tidegate.quotas.estimate import OutputEstimate
from tidegate.quotas.local import ZONES_APART_S
from tidegate.quotas.process import Quotas
from tidegate.quotas.tokens import Count, load_vocabulary
from tidegate.rails.abandoned import Abandoned
from tidegate.review.counts import Counts
from tidegate.review.desk import Desk
from tidegate.review.file import CaseFile
from tidegate.review.place import place_of
from tidegate.running import (
    RunningEngine,
    RunningStore,
    engine_gauges,
    keep_probing,
)
from tidegate.telemetry.audit import Audit
from tidegate.telemetry.failures import EVERY_S, FailureLog
from tidegate.telemetry.metrics import Metrics, gauge
from tidegate.telemetry.rails import RailMetrics
from tidegate.types import Judged

if TYPE_CHECKING:
    from tidegate.access.jwt.issuer import Issuer
    from tidegate.access.jwt.tokens import Tokens

T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_TOKENS = 256
"""The length of an answer for the queue, as long as no answer is known."""


def make_engine(name: str, config: EngineConfig) -> Engine:
    """Make a new engine of the kind that its settings name. The engine is not open yet."""
    del name
    engine: Engine = registry.find("tidegate.engines", config.kind)(config)
    return engine


async def _refuse_to_ask(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("no configuration is in force yet")


def _not_noted(judged: Judged) -> None:
    """Take the place of the audit where there is none."""
    del judged


class Runtime:
    """Opens and closes the parts that live as long as the process. Satisfies `Host`."""

    def __init__(
        self,
        *,
        clock: Clock = time.monotonic,
        wall: Wall = time.time,
        make: Callable[[str, EngineConfig], Engine] = make_engine,
    ) -> None:
        self.clock = clock
        self.wall = wall
        self._make = make
        self.metrics = Metrics()
        self.rail_metrics = RailMetrics()
        self.abandoned = Abandoned(self.rail_metrics.went_on)
        """The checks of rails that nobody waits for. They outlive their calls."""
        self.audit_key = secrets.token_bytes(32)
        """The key of the hashes in the audit, for a configuration that gives none."""
        self.metrics.add_gauges(self.rail_metrics.collect)
        self.metrics.add_gauges(self._gauges)
        self.metrics.add_gauges(self._store_gauges)
        self.review_counts = Counts(clock)
        """The counts of the desks, which live as long as their settings."""
        self.metrics.add_gauges(self.review_counts.collect)
        self.failures = FailureLog(clock)
        self.embedder: Embedder = MiniLm()
        self.detector: Detects = Detector(clock=clock)
        """The detector of all rails. It outlives the snapshots, and is loaded when the first rail needs it."""
        self.queue = Queue(clock)
        self.lengths = OutputEstimate(first=FIRST_TOKENS, prior=0)
        """How long the answers of each model and key are."""
        self.answers = Answers[Call](clock)
        """The answers that several clients get. They outlive the snapshots."""
        self.metrics.add_gauges(self.answers.metrics)
        self.quotas = Quotas(clock, wall)
        self.metrics.add_gauges(self.quotas.metrics)
        self._vocabulary: Count | None = None
        self.ask: Internal = _refuse_to_ask
        self._seats: dict[str, Seats] = {}
        self._health: dict[tuple[str, str], Health] = {}
        self._engines = Lending[RunningEngine](RunningEngine.close)
        self._issuers = Lending["Issuer"](lambda issuer: issuer.close())
        self._stores = Lending[RunningStore](self._close_store)
        self._desks = Lending[Desk](lambda desk: desk.close())
        self._closing: set[asyncio.Task[None]] = set()
        self.directory = Directory(clock, wall)
        """The keys in force. It outlives the snapshots."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        # These are closed in reverse order: engines and stores close before the background tasks are cancelled.
        self._exit.push_async_callback(self.embedder.close)
        self._exit.push_async_callback(self.detector.close)
        self._exit.push_async_callback(self._end_tasks)
        self._exit.push_async_callback(self._issuers.close_all)
        self._exit.push_async_callback(self._desks.close_all)
        self._exit.push_async_callback(self._close_stores)
        self._exit.push_async_callback(self._close_engines)
        self.spawn(self._tell_refusals(), name="tell refusals")
        self.spawn(self.quotas.kept.write_on(), name="write what is used of days and months")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.failures.flush()
        await self._exit.aclose()

    async def _close_engines(self) -> None:
        for failure in await self._engines.close_all():
            log.error("an engine did not close", exc_info=failure)

    async def _close_store(self, running: RunningStore) -> None:
        """Close a store. Whoever waits for it may be cancelled; what is to be written is written all the same."""
        closing = asyncio.create_task(running.close(), name=f"close the store {running.name}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.shield(closing)

    async def _close_stores(self) -> None:
        await self.quotas.kept.close()
        for failure in await self._stores.close_all():
            log.error("a store did not close", exc_info=failure)
        await asyncio.gather(*self._closing, return_exceptions=True)  # those that were given back just now

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start a background task. It is cancelled when the runtime closes. A failure is logged."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the background task '%s' failed", task.get_name(), exc_info=error)

    async def vocabulary(self) -> Count:
        """Return the function that counts tokens. It is loaded in a thread when it is needed for the first time."""
        if self._vocabulary is None:
            self._vocabulary = await asyncio.to_thread(load_vocabulary)
        return self._vocabulary

    async def borrow(self, name: str, config: EngineConfig) -> RunningEngine:
        """Return the running engine with these settings; open one if there is none. Raises the errors of `Engine.open`."""
        # Seats are stored by name, so a changed number of seats does not need another engine.
        return await self._engines.borrow(
            f"{name}:{engine_digest(config)}", partial(self._open, name, config)
        )

    async def _open(self, name: str, config: EngineConfig) -> RunningEngine:
        engine = self._make(name, config)
        if isinstance(engine, CountsOddities):
            engine.odd = partial(self.metrics.odd_answer, name)
        await engine.open(self)
        running = RunningEngine(name, engine, self._seats_of(name), self.clock)
        running.probing = self.spawn(keep_probing(running), name=f"probe {name}")
        return running

    def _seats_of(self, name: str) -> Seats:
        found = self._seats.get(name)
        if found is None:
            found = self._seats[name] = Seats(rules=self.queue.rules.classes, clock=self.clock)
        return found

    def health_of(self, engine: str, model: str, config: EngineConfig) -> Health:
        """Return the health of a model on an engine. It is the same one for every snapshot."""
        found = self._health.get((engine, model))
        if found is None:
            found = self._health[engine, model] = Health(f"model {model} on engine {engine}", self.clock)
        rules = config.breaker
        found.set_rules(
            BreakerRules(
                min_calls=rules.min_calls,
                failure_rate=rules.failure_rate,
                in_a_row=rules.failures_in_a_row,
                open_s=rules.open_s,
            ),
            slow_s=(rules.slow_first_byte_ms or float("inf")) / 1000,
        )
        return found

    def observe_queue(self) -> None:
        """Have the metrics of the queue. A supervisor has none: it has a runtime, and no calls of its own."""
        self.metrics.add_gauges(QueueMetrics(self.queue, self._seats).collect)
        self.metrics.add_gauges(lambda: health_metrics(self._health, self.clock()))

    def arrange(self, config: QueueConfig) -> None:
        """Put the settings of the queue in force. The calls that wait keep their places."""
        rules = rules_of(config)
        self.queue.configure(rules)
        for seats in self._seats.values():
            seats.line.configure(rules.classes)

    def set_limits(self, engines: Mapping[str, tuple[RunningEngine, EngineConfig]]) -> None:
        """Set the number of seats of each engine: from its configuration, or else from the open engine's capabilities."""
        for running, config in engines.values():
            limit = config.seats(running.engine.capabilities.slots)
            # The limit may come from the engine itself, and be small. At least one seat stays for clients.
            reserved = config.reserved_seats if limit is None else min(config.reserved_seats, limit - 1)
            # A limit that the engine reports is what it can run, so only a given one is adapted.
            adapts = config.adapts and config.max_in_flight is not None
            running.seats.set_limit(limit, reserved=reserved, adapts=adapts)
        for name in self._seats.keys() - {running.name for running in self.engines()}:
            if not self._seats[name].in_flight:
                del self._seats[name]

    async def give_back(self, running: RunningEngine) -> None:
        """Give back a borrowed engine. The engine closes if this was its last borrower."""
        await self._engines.give_back(running)

    async def identifies(self, config: Config, loans: AsyncExitStack) -> Identifies:
        """Return what recognises the keys in force, and the tokens of a configuration, until `loans` closes."""
        tokens = await self._tokens(config.auth.jwt, loans)
        return self.directory if tokens is None else KeysAndTokens(self.directory, tokens)

    async def _tokens(self, config: JwtConfig | None, loans: AsyncExitStack) -> Tokens | None:
        """Return what recognises tokens; None without settings. It borrows the issuer's keys until `loans` closes."""
        if config is None:
            return None
        issuer = await self._issuers.borrow(issuer_digest(config), partial(self._open_issuer, config))
        loans.push_async_callback(self._issuers.give_back, issuer)
        # Late: joserfc and what it needs take 11 MB and 50 ms, which a gateway without tokens saves.
        from tidegate.access.jwt.tokens import Tokens  # noqa: PLC0415

        return Tokens(config, issuer, clock=self.clock, wall=self.wall)

    async def _open_issuer(self, config: JwtConfig) -> Issuer:
        from tidegate.access.jwt.issuer import Issuer  # noqa: PLC0415 - late, as above

        issuer = Issuer(config, clock=self.clock, spawn=self.spawn)
        issuer.open()
        return issuer

    async def borrow_store(self, name: str, config: StoreConfig) -> RunningStore:
        """Return the open store with these settings; open one if there is none. Raises the errors of `Store.open`."""
        return await self._stores.borrow(
            f"{name}:{store_digest(config)}", partial(self._open_store, name, config)
        )

    async def _open_store(self, name: str, config: StoreConfig) -> RunningStore:
        store: Store = registry.find("tidegate.stores", config.kind)(config)
        try:
            await store.open(self)
        except ConfigError as error:
            told = [Problem(f"stores.{name}", f"{error.source}: {one.message}") for one in error.problems]
            raise ConfigError("cannot start", told) from error
        async with AsyncExitStack() as undo:
            undo.push_async_callback(store.close)
            running = RunningStore(name, store, self.clock)
            await running.read_counts(after=self.wall() - ZONES_APART_S)
            running.start(self.spawn)
            undo.pop_all()
        return running

    async def give_back_store(self, running: RunningStore) -> None:
        """Give back a borrowed store. The store closes if this was its last borrower."""
        await self._stores.give_back(running)

    async def desk(self, config: Config, loans: AsyncExitStack) -> Desk:
        """Return the desk of the reviewers, until `loans` closes. Raises ConfigError if its file cannot be used."""
        path, audit = place_of(config), config.rails.audit_path
        desk = await self._desks.borrow(
            f"{path}:{audit}:{store_digest(config.review)}", partial(self._open_desk, config, path)
        )
        loans.push_async_callback(self._desks.give_back, desk)
        return desk

    async def _open_desk(self, config: Config, path: Path) -> Desk:
        audit = config.rails.audit_path
        noted = _not_noted if audit is None else Audit(audit, self.wall).decided
        desk = Desk(
            config.review,
            CaseFile(path),
            self.review_counts,
            noted=noted,
            clock=self.clock,
            wall=self.wall,
            spawn=self.spawn,
        )
        await desk.open()
        return desk

    def recognise(self, config: Config, stores: Iterable[RunningStore]) -> None:
        """Put the keys of a configuration in force: its own, and those of its stores, which the caller has borrowed."""
        peppers = peppers_of(config)
        stored = next((running.keys for running in stores if running.keys is not None), None)
        if stored is not None:
            stored.keep_for(config.auth.max_stale_s)
        self.directory.configure(configured_keys(config, peppers).values(), peppers, stored)

    def count_in(self, stores: Iterable[RunningStore]) -> None:
        """Keep what is used of days and months in one of these stores, which the caller has borrowed."""
        running = next((running for running in stores if running.counts is not None), None)
        if running is None:
            self.quotas.kept.keep_in(None)
        else:
            self.quotas.kept.keep_in(running.counts, running.found)
            running.found = ()

    def engines(self) -> list[RunningEngine]:
        """Return every open engine."""
        return self._engines.lent()

    async def _tell_refusals(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            self.failures.flush()

    def _store_gauges(self) -> Iterable[Metric]:
        states = (([running.name], running.ready) for running in self._stores.lent())
        yield gauge("store_ready", "1 if the store can be read and written.", ["store"], states)

    def _gauges(self) -> Iterable[Metric]:
        # One row per name: while a reload drains, two engines may have the same name. They share their seats.
        rows = {running.name: running for running in self.engines()}
        return engine_gauges(rows.values())
