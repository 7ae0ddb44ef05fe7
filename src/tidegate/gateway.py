"""The gateway as one object: the runtime, the current snapshot, and how one snapshot follows another."""

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
from tidegate.call import internal_call
from tidegate.config import Config, ServerConfig
from tidegate.config.exposure import check_exposure
from tidegate.errors import ConfigError, GatewayError, Overloaded, Problem, UpstreamError
from tidegate.files import Stamp, stamp
from tidegate.ports import Clock, Spawn
from tidegate.runtime import RunningEngine, Runtime, probe_all
from tidegate.snapshot import Snapshot, assemble
from tidegate.telemetry.metrics import counter, gauge
from tidegate.types import Endpoint, Parent, Piece

WATCH_EVERY_S = 1.0
# How late an overdue call may be ended, so that many of them cost one look.
DUE_WITHIN_S = 0.05

log = logging.getLogger(__name__)


class Reloaded(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a reload has put in force. `restarted` are the workers that did not confirm it and start anew with it."""

    models: list[str]
    restarted: list[int] = []


class LiveCall(Protocol):
    """A call at the front, as far as the gateway must know it.

    `due_at` is on the loop's clock; `LiveCalls.sooner` is told when it has moved closer.
    """

    due_at: float

    def stop(self, reason: GatewayError) -> None:
        """End it with an error for the client."""
        ...

    def end_overdue(self) -> None:
        """It is due."""
        ...


class LiveCalls:
    """The calls that run. One alarm ends those that are overdue."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._calls: set[LiveCall] = set()
        self._loop = loop
        self._alarm = Alarm(loop, self._on_time)

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: LiveCall) -> None:
        """A call begins."""
        self._calls.add(call)
        self._alarm.ring_by(call.due_at)

    def discard(self, call: LiveCall) -> None:
        """A call has ended."""
        self._calls.discard(call)

    def sooner(self, call: LiveCall) -> None:
        """Its `due_at` has moved closer."""
        self._alarm.ring_by(call.due_at)

    def stop(self, reason: GatewayError) -> None:
        """End all of them with an error."""
        for call in list(self._calls):
            call.stop(reason)

    def close(self) -> None:
        """No call comes any more."""
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
        """`path` is the file that `config` was read from; `settings` hold instead of its section `server`.

        `seen` is the file's stamp from before it was read. Without it, the file counts as unchanged since it was read.
        """
        self.runtime = runtime or Runtime()
        self.draining = False
        self.snapshot: Snapshot
        self.loop: asyncio.AbstractEventLoop
        self.live: LiveCalls
        self.settings = settings or config.server
        self.bodies = ByteBudget(self.settings.max_pending_body_bytes)
        self.answers = ByteBudget(self.settings.max_unread_answer_bytes)
        self.address = "127.0.0.1"
        """The address that clients connect to. Whoever listens sets it: without keys it must be of this machine alone."""
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
        # Kept: asking for it again is a system call, in Python 3.11, and every request needs it.
        self.loop = asyncio.get_running_loop()
        self.live = LiveCalls(self.loop)
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(self.runtime)
            self.snapshot = await assemble(self._first, self.runtime, server=self.settings)
            self.runtime.ask = self.ask
            self._set_limits(self.snapshot)
            self.runtime.metrics.add_gauges(self._gauges)
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

    def stop_calls(self) -> None:
        """End every call with an error: the time for draining is over."""
        self.live.stop(Overloaded("The gateway is shutting down", retry_after_s=1))

    def ready(self) -> bool:
        """Whether new calls are welcome: not draining, and an engine of the configuration in force can serve.

        Where any of its engines generates text, one of those has to be ready: embeddings alone do not make a gateway.
        """
        engines = list(self.snapshot.engines.values())
        generating = [one for one in engines if one.engine.capabilities.fields.keys() - {Endpoint.EMBEDDINGS}]
        return not self.draining and any(one.ready for one in generating or engines)

    @property
    def state(self) -> str:
        """`ready`, `not ready` or `draining`."""
        return "draining" if self.draining else "ready" if self.ready() else "not ready"

    @property
    def engine_states(self) -> dict[str, str]:
        """`ready` or `not ready` for every engine of the configuration in force."""
        return {name: "ready" if one.ready else "not ready" for name, one in self.snapshot.engines.items()}

    @property
    def reasons(self) -> dict[str, str]:
        """Why engines of the configuration in force are not ready, by their names, where that is known."""
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
        """Make a call of the gateway's own under the configuration in force. Satisfies `Internal`."""
        call = internal_call(model, fields, purpose=purpose, of=of, now=self.clock(), deadline=deadline)
        async with self.snapshot.ask(call) as reply:
            pieces = [piece async for batch in reply.pieces for piece in batch]
        if len(pieces) != 1:
            raise UpstreamError("the engine gave no whole answer")
        return pieces[0]

    async def scrape(self) -> bytes:
        """The metrics as Prometheus reads them."""
        return self.runtime.metrics.render()

    async def reload(self) -> Reloaded:
        """Read the config file again and swap to it. Raises ConfigError; then nothing has changed.

        What else an engine raises when it closes is raised too, and nothing has changed either.
        """
        if self._path is None:
            raise no_file()
        path, ok = self._path, False
        async with self._reloading:
            try:
                self.put_in_force(await self.prepare(configuration.load(path)))
                ok = True
            except ConfigError as error:
                log.error("the configuration stays as it was: %s", error)  # noqa: TRY400 - its words say it all
                raise
            finally:
                self.runtime.metrics.reloaded(ok=ok)
            log.info("%s is in force", path)
            for problem in configuration.warnings(self.snapshot.config):
                log.warning("%s: %s", problem.path, problem.message)
            return Reloaded(list(self.snapshot.models.names))

    async def try_reload(self) -> None:
        """Reload without a caller that waits for the result. A refusal is logged."""
        with contextlib.suppress(ConfigError):
            await self.reload()

    async def prepare(self, config: Config) -> Snapshot:
        """Build a snapshot and ask its new engines whether they are ready. Raises ConfigError; then nothing has changed.

        What is prepared has to be put in force or retired.
        """
        check_exposure(config, self.address)
        if config.server != self._first.server:
            log.warning("changes under server: take effect at the next start")
        before = self.runtime.engines()
        following = await assemble(config, self.runtime, server=self.settings)
        new = [running for running in self.runtime.engines() if running not in before]
        if not_ready := await _not_ready(new):
            await following.retire()
            problems = [
                Problem(f"engines.{one.name}", f"{one.why or 'is not ready'}; mend it, or take it out")
                for one in not_ready
            ]
            raise ConfigError("health check", problems)
        return following

    def put_in_force(self, following: Snapshot) -> None:
        """From now on calls begin with this snapshot; the previous one ends with its last call."""
        previous, self.snapshot = self.snapshot, following
        self._set_limits(following)
        self.runtime.spawn(previous.retire(), name="drain the previous configuration")

    def _set_limits(self, snapshot: Snapshot) -> None:
        engines = snapshot.config.engines
        self.runtime.set_limits({name: (one, engines[name]) for name, one in snapshot.engines.items()})

    def _gauges(self) -> list[Metric]:
        return [
            gauge(
                "calls_in_flight", "Calls inside the current configuration.", [], [((), self.snapshot.calls)]
            ),
            gauge("pending_body_bytes", "Request bodies held.", [], [((), self.bodies.held_bytes)]),
            counter("pending_body_refusals", "Bodies refused for want of memory.", self.bodies.refused),
            gauge("unread_answer_bytes", "Whole answers held.", [], [((), self.answers.held_bytes)]),
            gauge(
                "unread_answers_waiting",
                "Whole answers not read from their engines yet, for want of memory.",
                [],
                [((), self.answers.waiting)],
            ),
            counter("unread_answer_waits", "Whole answers that had to wait so.", self.answers.had_to_wait),
        ]


async def watch(
    path: Path, changed: Callable[[], Awaitable[None]], *, spawn: Spawn, seen: Stamp | None
) -> None:
    """Call `changed` whenever the file has. Polling sees every way of replacing a file, a symbolic link included.

    `seen` is the stamp from before the file was first read. `changed` runs as background work of its own: what it raises
    goes to the log, and later changes are still seen. A file that still changes is left alone: half of it may be a valid
    configuration, and an empty one is.
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
    """Why a gateway with the built-in configuration cannot reload."""
    return ConfigError(
        "reload", [Problem("", "the gateway runs without a config file; there is nothing to read")]
    )


async def _not_ready(engines: list[RunningEngine]) -> list[RunningEngine]:
    await probe_all(engines)
    return [running for running in engines if not running.ready]
