"""The gateway as one object: it owns the runtime and the current snapshot, and replaces the snapshot on a reload."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec
from prometheus_client.core import Metric

from tidegate import config as configuration
from tidegate.aio import EARLY_S, Alarm
from tidegate.budget import ByteBudget
from tidegate.config import Config, ServerConfig
from tidegate.config.exposure import check_exposure
from tidegate.dispatch.deployments import seats_of
from tidegate.dispatch.state import Glance, Inquiry, QueueState, glance, state_of
from tidegate.errors import ConfigError, GatewayError, Overloaded, Problem
from tidegate.files import Stamp, stamp
from tidegate.ports import Clock, Spawn
from tidegate.quotas.consumed import Consumed, consumed
from tidegate.running import RunningEngine, probe_all
from tidegate.runtime import Runtime
from tidegate.snapshot import Snapshot, assemble
from tidegate.telemetry.metrics import counter, gauge
from tidegate.types import Endpoint, Parent, Piece

WATCH_EVERY_S = 1.0
# An overdue call may be ended this many seconds late, so that one check ends many of them.
DUE_WITHIN_S = 0.05

log = logging.getLogger(__name__)


class Reloaded(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a reload: the models now served, and the workers that are restarted because they did not confirm it."""

    models: list[str]
    restarted: list[int] = []


class LiveCall(Protocol):
    """A running call, as the gateway uses it.

    `due_at` is the call's deadline on the loop's clock. When it moves closer, `LiveCalls.sooner` has to be called.
    """

    due_at: float

    def stop(self, reason: GatewayError) -> None:
        """End the call with an error for the client."""
        ...

    def end_overdue(self) -> None:
        """End the call, because its deadline has passed."""
        ...


class LiveCalls:
    """The running calls. One alarm for all of them ends overdue calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._calls: set[LiveCall] = set()
        self._loop = loop
        self._alarm = Alarm(loop, self._on_time)

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: LiveCall) -> None:
        """Add a call that begins."""
        self._calls.add(call)
        self._alarm.ring_by(call.due_at)

    def discard(self, call: LiveCall) -> None:
        """Remove a call that has ended."""
        self._calls.discard(call)

    def sooner(self, call: LiveCall) -> None:
        """Take in that the `due_at` of a call has moved closer."""
        self._alarm.ring_by(call.due_at)

    def stop(self, reason: GatewayError) -> None:
        """End all calls with an error."""
        for call in list(self._calls):
            call.stop(reason)

    def close(self) -> None:
        """Stop the alarm. No call may be added later."""
        self._alarm.stop()

    def _on_time(self) -> None:
        now = self._loop.time() + EARLY_S
        for call in list(self._calls):
            if call.due_at <= now:
                call.end_overdue()
        if later := [call.due_at for call in self._calls if call.due_at > now]:
            self._alarm.ring_by(max(min(later), now + DUE_WITHIN_S))


class Gateway:
    """A running gateway, for a server or for use in process. Open it with `async with`."""

    def __init__(
        self,
        config: Config,
        *,
        path: Path | None = None,
        runtime: Runtime | None = None,
        settings: ServerConfig | None = None,
        seen: Stamp | None = None,
    ) -> None:
        """Create a gateway that is not open yet.

        `path` is the file that `config` was read from. `settings` replace the section `server` of `config`. `seen` is the
        stamp of the file, taken before the file was read. Without it, the file counts as unchanged since then.
        """
        self.runtime = runtime or Runtime()
        self.draining = False
        self.snapshot: Snapshot
        self.loop: asyncio.AbstractEventLoop
        self.live: LiveCalls
        self.settings = settings or config.server
        self.admin_apart = config.admin.apart
        """Whether the admin API has a port of its own, for as long as the process lives."""
        self.bodies = ByteBudget(self.settings.max_pending_body_bytes)
        self.answers = ByteBudget(self.settings.max_unread_answer_bytes)
        self.address = "127.0.0.1"
        """The address that clients connect to. Whoever listens sets it: without keys it must be of this machine alone."""
        self.admin_address = "127.0.0.1"
        """The same for the admin port."""
        self._first = config
        self._path = path
        self._seen = seen if seen is not None or path is None else stamp(path)
        self._reloading = asyncio.Lock()
        self._exit = AsyncExitStack()

    @property
    def clock(self) -> Clock:
        """Monotonic seconds."""
        return self.runtime.clock

    async def __aenter__(self) -> Self:
        # The loop is cached: `get_running_loop` makes a system call in Python 3.11, and every request needs the loop.
        self.loop = asyncio.get_running_loop()
        self.live = LiveCalls(self.loop)
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(self.runtime)
            self.snapshot = await assemble(self._first, self.runtime, server=self.settings)
            opened.push_async_callback(self._close_rails)
            self.runtime.ask = self.ask
            self._take(self.snapshot)
            self.runtime.metrics.add_gauges(self._gauges)
            self.runtime.observe_queue()
            if self._path is not None:
                watching = watch(self._path, self.try_reload, spawn=self.runtime.spawn, seen=self._seen)
                self.runtime.spawn(watching, name="watch the config file")
            self._exit = opened.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.close()
        await self._exit.aclose()

    async def _close_rails(self) -> None:
        await self.snapshot.close_rails()

    def stop_calls(self) -> None:
        """End every call with an error, because the time for draining is over."""
        self.live.stop(Overloaded("The gateway is shutting down", retry_after_s=1))

    def ready(self) -> bool:
        """Whether the gateway can serve new calls: it is not draining, and an engine of the current configuration is ready.

        Its stores have to be ready as well: without them, keys that are not known yet are refused.

        If any of the engines generates text, one of the engines that generate text has to be ready. An engine for
        embeddings alone is not enough then.
        """
        engines = list(self.snapshot.engines.values())
        generating = [one for one in engines if one.engine.capabilities.fields.keys() - {Endpoint.EMBEDDINGS}]
        stores = all(one.ready for one in self.snapshot.stores.values())
        return not self.draining and stores and any(one.ready for one in generating or engines)

    @property
    def state(self) -> str:
        """`ready`, `not ready` or `draining`."""
        return "draining" if self.draining else "ready" if self.ready() else "not ready"

    @property
    def engine_states(self) -> dict[str, str]:
        """The state, `ready` or `not ready`, of every engine of the current configuration."""
        return {name: "ready" if one.ready else "not ready" for name, one in self.snapshot.engines.items()}

    @property
    def store_states(self) -> dict[str, str]:
        """The state, `ready` or `not ready`, of every store of the current configuration."""
        return {name: "ready" if one.ready else "not ready" for name, one in self.snapshot.stores.items()}

    @property
    def reasons(self) -> dict[str, str]:
        """The known reasons why engines of the current configuration are not ready, by the engine's name."""
        return {name: why for name, one in self.snapshot.engines.items() if (why := one.why)}

    async def ask(
        self,
        model: str,
        fields: Mapping[str, msgspec.Raw],
        *,
        purpose: str,
        of: Parent | None,
        deadline: float,
    ) -> Piece:
        """Make an internal call under the current configuration. Satisfies `Internal`."""
        return await self.snapshot.answer(model, fields, purpose=purpose, of=of, deadline=deadline)

    async def scrape(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        return self.runtime.metrics.render()

    async def consumed(self, level: str = "") -> Consumed:
        """Return what is consumed of limits now, of one level if one is given. Raises GatewayError."""
        return consumed(self.runtime.quotas.limiter, self.snapshot.config, level)

    @property
    def queue_glance(self) -> Glance:
        """The queue in a few numbers. It never changes the state: calls that can be served at once are welcome."""
        return glance(self.runtime.queue)

    def own_queue_state(self, inquiry: Inquiry | None = None) -> QueueState:
        """Return the queue of this process now. Raises ModelNotFound for an inquiry about an unknown model."""
        snapshot, found = self.snapshot, []
        if inquiry is not None:
            found = seats_of(snapshot.models.find(inquiry.model)[1])
        engines = {name: one.seats for name, one in snapshot.engines.items()}
        return state_of(self.runtime.queue, engines, inquiry, found)

    async def queue_state(self, inquiry: Inquiry | None = None) -> QueueState:
        """Return the queue now, with what the call of an inquiry has to expect. Raises GatewayError."""
        return self.own_queue_state(inquiry)

    async def reload(self) -> Reloaded:
        """Read the config file again and put it in force. Raises ConfigError; nothing has changed in this case.

        Also raises any exception that an engine raises when it closes. Nothing has changed in this case either.
        """
        if self._path is None:
            raise no_file()
        path, ok = self._path, False
        async with self._reloading:
            try:
                self.put_in_force(await self.prepare(configuration.load(path)))
                ok = True
            except ConfigError as error:
                log.error("the configuration stays as it was: %s", error)  # noqa: TRY400 - the message is enough
                raise
            finally:
                self.runtime.metrics.reloaded(ok=ok)
            log.info("%s is in force", path)
            for problem in configuration.warnings(self.snapshot.config):
                log.warning("%s: %s", problem.path, problem.message)
            return Reloaded(list(self.snapshot.models.names))

    async def try_reload(self) -> None:
        """Reload in the background. A ConfigError is only logged."""
        with contextlib.suppress(ConfigError):
            await self.reload()

    async def prepare(self, config: Config) -> Snapshot:
        """Build a snapshot and check that its new engines are ready. Raises ConfigError; nothing has changed in this case.

        The caller has to put the snapshot in force or retire it.
        """
        check_exposure(config, self.address)
        check_exposure(config, self.admin_address, setting="admin.host")
        if config.server != self._first.server:
            log.warning("changes under server: take effect at the next start")
        before = self.runtime.engines()
        following = await assemble(config, self.runtime, server=self.settings)
        new = [running for running in self.runtime.engines() if running not in before]
        if not_ready := await _not_ready(new):
            await following.retire()
            problems = [
                Problem(f"engines.{one.name}", f"{one.why or 'is not ready'}; fix it, or remove the engine")
                for one in not_ready
            ]
            raise ConfigError("health check", problems)
        return following

    def put_in_force(self, following: Snapshot) -> None:
        """Use this snapshot for all new calls. The previous snapshot is retired once its last call has ended."""
        previous, self.snapshot = self.snapshot, following
        self._take(following)
        self.runtime.spawn(previous.retire(), name="drain the previous configuration")

    def _take(self, snapshot: Snapshot) -> None:
        """Give the runtime what it has of a snapshot: the keys, the store of its counts, the queue and the seats."""
        engines = snapshot.config.engines
        self.runtime.recognise(snapshot.config, snapshot.stores.values())
        self.runtime.count_in(snapshot.stores.values())
        self.runtime.arrange(snapshot.config.queue)
        self.runtime.answers.configure(snapshot.config.idempotency)
        self.runtime.set_limits({name: (one, engines[name]) for name, one in snapshot.engines.items()})

    def _gauges(self) -> list[Metric]:
        return [
            gauge(
                "calls_in_flight",
                "Running calls of the current configuration.",
                [],
                [((), self.snapshot.calls)],
            ),
            gauge("pending_body_bytes", "Bytes of request bodies held.", [], [((), self.bodies.held_bytes)]),
            counter("pending_body_refusals", "Bodies refused for lack of memory.", self.bodies.refused),
            gauge("unread_answer_bytes", "Bytes of whole answers held.", [], [((), self.answers.held_bytes)]),
            gauge(
                "unread_answers_waiting",
                "Whole answers that wait for memory before they are read from their engines.",
                [],
                [((), self.answers.waiting)],
            ),
            counter(
                "unread_answer_waits", "Whole answers that had to wait for memory.", self.answers.had_to_wait
            ),
        ]


async def watch(
    path: Path, changed: Callable[[], Awaitable[None]], *, spawn: Spawn, seen: Stamp | None
) -> None:
    """Call `changed` whenever the file has changed.

    The file is polled, so every way to replace it is noticed, even a changed symbolic link. `seen` is the stamp of the
    file, taken before the file was first read. `changed` runs as a background task: an exception is logged, and later
    changes are still noticed. While the file is being written, `changed` is not called, since half of a file may be a valid
    configuration, and an empty file is one.
    """
    done = asyncio.Event()

    async def handle() -> None:
        try:
            await changed()
        finally:
            done.set()

    before = seen
    while True:
        await asyncio.sleep(WATCH_EVERY_S)
        now = stamp(path)
        if now is not None and now != seen and now == before:
            seen = now
            done.clear()
            spawn(handle(), name="take in the changed config file")
            await done.wait()
        before = now


def no_file() -> ConfigError:
    """Return the error for a reload of a gateway with the built-in configuration."""
    return ConfigError(
        "reload", [Problem("", "the gateway runs without a config file; there is nothing to read")]
    )


async def _not_ready(engines: list[RunningEngine]) -> list[RunningEngine]:
    await probe_all(engines)
    return [running for running in engines if not running.ready]
