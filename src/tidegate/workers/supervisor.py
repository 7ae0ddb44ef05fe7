"""The supervisor: starts the workers, restarts workers that die, and changes the configuration of all workers or none."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TypeVar

import msgspec
from prometheus_client.core import CounterMetricFamily, Metric
from starlette.applications import Starlette

from tidegate.config import Config, read_text, warnings
from tidegate.config.exposure import check_exposure, exposure
from tidegate.dispatch.state import Inquiry, QueueState
from tidegate.errors import ConfigError, Problem
from tidegate.files import Stamp, stamp
from tidegate.gateway import Reloaded, no_file, watch
from tidegate.http.access import guarded
from tidegate.http.admin import ReviewRoutes, admin_routes
from tidegate.http.edge.server import EdgeServer, bind
from tidegate.http.serving import bind_admin
from tidegate.kernel.backoff import Backoff
from tidegate.quotas.consumed import Consumed
from tidegate.review.place import asks_people
from tidegate.runtime import Runtime
from tidegate.stages.authenticate import Authenticate, authenticate_for
from tidegate.telemetry.metrics import gauge
from tidegate.workers.consumed import added_up
from tidegate.workers.epochs import Change, change_all
from tidegate.workers.line import Handlers, NoAnswer
from tidegate.workers.llamas import Llamas, Loan
from tidegate.workers.member import Member
from tidegate.workers.queues import glances, together
from tidegate.workers.shares import Source, refuse_unshareable
from tidegate.workers.totals import Totals
from tidegate.workers.worker import Report, Start

START_WITHIN_S = 60.0
REPORT_WITHIN_S = 5.0
# A worker is killed if it still runs this many seconds after the end of its drain.
OVERTIME_S = 10.0

T = TypeVar("T")

log = logging.getLogger(__name__)


async def supervise(source: Source, path: Path | None, *, workers: int, log_level: str) -> None:
    """Run `workers` workers until a signal arrives. Raises ConfigError and CannotListen.

    `path` is the configuration file to read and watch. It is None for the built-in configuration, which `source` describes.
    """
    seen = None
    if path is not None:
        seen = stamp(path)  # taken before the file is read, so that a change during the start is noticed
        source = msgspec.structs.replace(source, name=str(path), text=read_text(path))
    await Supervisor(source, path, seen, count=workers, log_level=log_level).run()


class Supervisor:
    """Keeps `count` workers running. Satisfies `Operator`, the protocol of the admin port."""

    def __init__(
        self, source: Source, path: Path | None, seen: Stamp | None = None, *, count: int, log_level: str
    ) -> None:
        """Read the configuration. `seen` is the stamp of the file at `path`, taken before the file was read."""
        self._source = source  # the source in force
        self._config: Config = source.read()
        self._path = path
        self._seen = seen
        self._count = count
        self._log_level = log_level
        self._runtime = Runtime()
        self._authenticate: Authenticate
        self._loans = AsyncExitStack()  # what `_authenticate` borrows
        self._admin_address = ""
        self._llamas = Llamas(self._config, self._spread)
        self._handlers: Handlers = {
            "scrape": self._on_scrape,
            "reload": self._on_reload,
            "consumed": self._on_consumed,
            "queue": self._on_queue,
        }
        self._members: dict[int, Member] = {}
        self._totals = Totals()
        self._restarts = self._unconfirmed = 0
        self._epoch = 0
        self._changing = asyncio.Lock()  # no worker starts in the middle of a reload
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Start all workers, keep them running until a signal arrives, then drain. Raises ConfigError and CannotListen."""
        config = self._config
        refuse_unshareable(config, self._count)
        with bind(config.server) as probe:  # checks that the port is free, and chooses one for port 0
            host, port = probe.getsockname()[:2]
            check_exposure(config, host)
        self._source = msgspec.structs.replace(self._source, port=port)
        admin_listener = bind_admin(config)
        self._admin_address = admin_listener.getsockname()[0]
        check_exposure(config, self._admin_address, setting="admin.host")
        async with AsyncExitStack() as opened:
            if config.server.port == 0:
                # Workers take seconds to listen, and another process could be given the port until then.
                kept = config.server.model_copy(update={"port": port})
                opened.enter_context(bind(kept, shared=True, listens=False))
            await opened.enter_async_context(self._runtime)
            self._authenticate = await self._recognising(config, self._loans)
            self._runtime.recognise(config, ())
            await self._llamas.open(self._runtime, opened)
            opened.push_async_callback(self._kill)
            await self._hire_all()
            self._runtime.metrics.add_gauges(self._gauges)
            # The workers share the file of the cases, so the supervisor can show it and decide as well as they can.
            desk = await self._runtime.desk(config, opened) if asks_people(config) else None
            reviews = ReviewRoutes(lambda: desk, self._runtime.wall).routes()
            routes = guarded([*admin_routes(self), *reviews], lambda: self._authenticate)
            admin = EdgeServer(Starlette(routes=routes))
            self._runtime.spawn(admin.serve([admin_listener]), name="serve the admin port")
            if self._path is not None:
                watching = watch(self._path, self._try_reload, spawn=self._runtime.spawn, seen=self._seen)
                self._runtime.spawn(watching, name="watch the config file")
            self._listen_to_signals()
            log.info(
                "the admin port of all %d workers: http://%s:%d",
                self._count,
                *admin_listener.getsockname()[:2],
            )
            log.info("%s", exposure(config))
            scheme = "https" if config.server.tls else "http"
            log.info("serving %s on %s://%s:%d/v1", ", ".join(sorted(config.models)), scheme, host, port)
            await asyncio.gather(*(self._keep(number) for number in range(self._count)))

    # -- the workers -----------------------------------------------------------------------------------------------

    async def _hire_all(self) -> None:
        """Start every worker. Raises a single ConfigError, even if several workers refuse."""
        async with (
            self._changing
        ):  # the first worker to listen may get a reload request before the others have started
            hired = await asyncio.gather(*map(self._hire, range(self._count)), return_exceptions=True)
        for failure in hired:
            if isinstance(failure, BaseException):
                raise failure

    async def _hire(self, number: int) -> None:
        """Start one worker and wait until it listens. Raises ConfigError."""
        member = await Member.spawn(
            number, self._handlers, spawn=self._runtime.spawn, patience_s=self._patience_s
        )
        self._members[number] = member
        if self._ending.is_set():
            member.send(signal.SIGTERM)
        start = Start(number, self._count, self._source, self._llamas.loans(), self._log_level)
        try:
            await member.line.ask("start", start, within_s=START_WITHIN_S)
        except NoAnswer as error:
            raise ConfigError(f"worker {number}", [Problem("", f"did not start: {error}")]) from error
        else:
            member.serving = True
        finally:
            if not member.serving:
                member.send(signal.SIGKILL)

    async def _keep(self, number: int) -> None:
        """Restart a worker whenever it ends, until the supervisor itself is told to end."""
        backoff, failures = Backoff(), 0
        while True:
            began = self._runtime.clock()
            code = await self._members[number].ended()
            if self._ending.is_set():
                return
            self._totals.departed(number)
            await asyncio.to_thread(self._llamas.forget, number, self._count)
            well = self._runtime.clock() - began >= backoff.reset_after_s
            failures = 1 if well else failures + 1
            delay = backoff.delay(failures)
            log.warning("worker %d ended with status %d; restart in %.2f s", number, code, delay)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._ending.wait()
            async with self._changing:
                if self._ending.is_set():
                    return
                self._restarts += 1
                try:
                    await self._hire(number)
                except ConfigError as error:
                    log.error("worker %d did not start: %s", number, error)  # noqa: TRY400 - the message says it all

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(
            signal.SIGHUP, lambda: self._runtime.spawn(self._try_reload(), name="reload on SIGHUP")
        )

    def _end(self) -> None:
        """Have every worker drain. After a second signal the workers end at once, as a gateway without workers does."""
        again = self._ending.is_set()
        if not again:
            self._ending.set()
            asyncio.get_running_loop().call_later(self._patience_s, self._send_all, signal.SIGKILL)
        self._send_all(signal.SIGINT if again else signal.SIGTERM)

    @property
    def _patience_s(self) -> float:
        """The seconds that a worker with the current configuration may take to end."""
        server = self._config.server
        return server.drain_grace_s + server.drain_deadline_s + OVERTIME_S

    def _send_all(self, number: signal.Signals) -> None:
        for member in self._members.values():
            member.send(number)

    async def _kill(self) -> None:
        """Kill the workers that are still running, as can happen after a failed start."""
        self._send_all(signal.SIGKILL)
        await asyncio.gather(*(member.ended() for member in self._members.values()))

    def _spread(self, loan: Loan) -> None:
        self._tell_all("loan", loan)

    # Handlers for the questions that a worker passes on from its clients.

    async def _on_scrape(self, _: bytes) -> str:
        return (await self.scrape()).decode()

    async def _on_reload(self, _: bytes) -> Reloaded:
        return await self.reload()

    async def _on_consumed(self, body: bytes) -> Consumed:
        return await self.consumed(msgspec.json.decode(body, type=str))

    async def _on_queue(self, body: bytes) -> QueueState:
        return await self.queue_state(msgspec.json.decode(body, type=Inquiry | None))

    # -- all workers as one gateway --------------------------------------------------------------------------------

    async def readiness(self) -> tuple[str, dict[str, object]]:
        """Return the state, which is `ready` only if every worker is ready, and the report of each worker."""
        reports = await self._reports()
        rows: list[dict[str, object]] = [
            {"worker": number, "status": "not running"} for number in range(self._count)
        ]
        for n, r in reports.items():
            rows[n] |= {"status": r.state, "pid": r.pid, "calls": r.calls, "engines": r.engines}
            rows[n] |= {"queue": r.queue, **({"reasons": r.reasons} if r.reasons else {})}
        ready = all(row["status"] == "ready" for row in rows)
        state = "draining" if self._ending.is_set() else "ready" if ready else "not ready"
        return state, {"queue": glances([r.queue for r in reports.values()]), "workers": rows}

    async def scrape(self) -> bytes:
        """Return the metrics of all workers, added up."""
        reports = await self._reports()
        own = self._runtime.metrics.collect()
        return self._totals.render(own, {number: report.metrics for number, report in reports.items()})

    async def consumed(self, level: str = "") -> Consumed:
        """Return what all workers have consumed of limits, of one level if one is given."""
        heard = (await self._ask_all("consumption", Consumed, level)).values()
        return added_up([*heard], self._config, workers=self._count)

    async def queue_state(self, inquiry: Inquiry | None = None) -> QueueState:
        """Return the queues of all workers as one, with what the call of an inquiry has to expect."""
        return together(await self._ask_all("waiting", QueueState, inquiry), workers=self._count)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._config

    async def _reports(self) -> dict[int, Report]:
        """Return the reports of the workers that answer."""
        return await self._ask_all("report", Report)

    async def _ask_all(self, what: str, kind: type[T], body: object = None) -> dict[int, T]:
        """Ask every worker a question, and return the answers by the number of the worker."""
        members = [member for member in self._members.values() if member.serving]
        asked = (member.line.ask(what, body, within_s=REPORT_WITHIN_S) for member in members)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        found: dict[int, T] = {}
        for member, answer in zip(members, answers, strict=True):
            if isinstance(answer, msgspec.Raw):
                found[member.number] = msgspec.json.decode(answer, type=kind)
            elif not isinstance(answer, NoAnswer):
                raise answer
        return found

    def _gauges(self) -> Iterator[Metric]:
        serving = sum(member.serving for member in self._members.values())
        yield gauge("workers", "Workers that serve.", [], [((), serving)])
        yield CounterMetricFamily("tidegate_worker_restarts", "Workers restarted.", value=self._restarts)
        yield CounterMetricFamily(
            "tidegate_worker_reloads_unconfirmed",
            "Workers restarted because they did not confirm a reload.",
            value=self._unconfirmed,
        )

    # -- reload ----------------------------------------------------------------------------------------------------

    async def reload(self) -> Reloaded:
        """Read the file again and change every worker. Raises ConfigError; no worker has changed in this case.

        Workers that do not confirm the change in time are restarted with the new configuration.
        """
        if self._path is None:
            raise no_file()
        async with self._changing:
            try:
                restarted = await self._swap(self._source, read_text(self._path))
            except ConfigError as error:
                self._runtime.metrics.reloaded(ok=False)
                log.error("the configuration stays as it was: %s", error)  # noqa: TRY400 - the message says it all
                raise
            self._runtime.metrics.reloaded(ok=True)
            log.info("%s is in force", self._path)
            for problem in warnings(self._config):
                log.warning("%s: %s", problem.path, problem.message)
            return Reloaded(sorted(self._config.models), restarted)

    async def _try_reload(self) -> None:
        with suppress(ConfigError):
            await self.reload()

    async def _swap(self, source: Source, text: str) -> list[int]:
        """Change all workers or none. Workers that do not confirm are told to end, and `_keep` restarts them."""
        source = msgspec.structs.replace(source, text=text)
        config = source.read()
        refuse_unshareable(config, self._count)
        check_exposure(config, self._admin_address, setting="admin.host")
        self._llamas.refuse_change(config)

        loans = AsyncExitStack()
        authenticate = await self._recognising(config, loans)

        def decided() -> None:
            nonlocal loans
            self._source, self._config, self._authenticate = source, config, authenticate
            self._runtime.recognise(config, ())
            self._loans, loans = loans, self._loans

        self._epoch += 1
        # A dismissed worker has no vote, since the worker that replaces it starts with the configuration decided here.
        lines = {number: member.line for number, member in self._members.items() if not member.dismissed}
        try:
            left_behind = await change_all(lines, Change(self._epoch, text), decided=decided)
        finally:
            await loans.aclose()  # of the configuration that is not in force
        for number in left_behind:
            log.error("worker %d did not confirm the new configuration and is restarted", number)
            self._unconfirmed += 1
            self._members[number].dismiss()
        return left_behind

    async def _recognising(self, config: Config, loans: AsyncExitStack) -> Authenticate:
        return authenticate_for(config, config.server, await self._runtime.identifies(config, loans))

    def _tell_all(self, what: str, body: object = None) -> None:
        for member in self._members.values():
            member.line.tell(what, body)
