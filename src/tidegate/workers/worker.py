"""The process of one worker: `python -m tidegate.workers.worker`. Its standard input is its line to the supervisor.

A worker is a gateway with its share of every engine's limits. Metrics, reloads and llama.cpp servers concern all workers,
so the worker leaves them to the supervisor. When the supervisor has ended, the worker finishes its calls and ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import uvloop

from tidegate.config import Config, EmbeddedConfig, EngineConfig
from tidegate.dispatch.state import Glance, Inquiry, QueueState
from tidegate.engines.embedded.engine import EmbeddedEngine
from tidegate.engines.embedded.llama import LentLlama
from tidegate.errors import ConfigError, Overloaded, Problem
from tidegate.gateway import Gateway, Reloaded
from tidegate.http.edge.server import CannotListen, bind
from tidegate.http.serving import GatewayServer, settle_garbage
from tidegate.ports import Engine
from tidegate.quotas.consumed import Consumed, consumed
from tidegate.runtime import Runtime, make_engine
from tidegate.workers.epochs import Candidates, Change
from tidegate.workers.line import Handlers, Line, NoAnswer
from tidegate.workers.llamas import Loan
from tidegate.workers.shares import Source, embedded, part, share
from tidegate.workers.totals import Family, families, total

SCRAPE_WITHIN_S = 10.0
RELOAD_WITHIN_S = 90.0

T = TypeVar("T")

log = logging.getLogger(__name__)


class Start(msgspec.Struct, frozen=True):
    """The first message to a worker. The worker answers it as soon as it listens."""

    number: int
    of: int
    source: Source
    loans: list[Loan]
    log_level: str


class Report(msgspec.Struct, frozen=True):
    """The state of a worker. `calls` is the number of calls that have ended since it started."""

    pid: int
    state: str
    engines: dict[str, str]
    reasons: dict[str, str]
    calls: int
    queue: Glance
    metrics: list[Family]


class WorkerGateway(Gateway):
    """A gateway that is one of several. Requests that concern all of them go to the supervisor."""

    def __init__(self, config: Config, *, line: Line, runtime: Runtime) -> None:
        super().__init__(config, runtime=runtime)
        self._line = line

    async def scrape(self) -> bytes:
        """Return the metrics of all workers. Raises Overloaded."""
        try:
            return msgspec.json.decode(
                await self._line.ask("scrape", within_s=SCRAPE_WITHIN_S), type=str
            ).encode()
        except NoAnswer as error:
            raise Overloaded(f"The metrics are not available now: {error}", retry_after_s=1) from error

    async def consumed(self, level: str = "") -> Consumed:
        """Return what all workers have consumed. Raises Overloaded."""
        try:
            answer = await self._line.ask("consumed", level, within_s=SCRAPE_WITHIN_S)
        except NoAnswer as error:
            raise Overloaded(f"The usage is not available now: {error}", retry_after_s=1) from error
        return msgspec.json.decode(answer, type=Consumed)

    async def queue_state(self, inquiry: Inquiry | None = None) -> QueueState:
        """Return the queues of all workers. Raises Overloaded."""
        try:
            answer = await self._line.ask("queue", inquiry, within_s=SCRAPE_WITHIN_S)
        except NoAnswer as error:
            raise Overloaded(f"The queue cannot be seen now: {error}", retry_after_s=1) from error
        return msgspec.json.decode(answer, type=QueueState)

    async def reload(self) -> Reloaded:
        """Have every worker reload. Raises Overloaded, or ConfigError, in which case no worker has changed."""
        try:
            answer = await self._line.ask("reload", within_s=RELOAD_WITHIN_S)
        except NoAnswer as error:
            raise Overloaded(f"The supervisor cannot reload now: {error}", retry_after_s=1) from error
        return msgspec.json.decode(answer, type=Reloaded)


class Worker:
    """Runs a gateway as the supervisor directs."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._start: asyncio.Future[Start] = loop.create_future()
        self._listening: asyncio.Future[None] = loop.create_future()
        self._llamas: dict[str, LentLlama] = {}
        self._gateway: WorkerGateway
        self._candidates: Candidates
        self.handlers: Handlers = {
            "start": self._on_start,
            "loan": self._on_loan,
            "prepare": self._on_prepare,
            "commit": self._on_commit,
            "abandon": self._on_abandon,
            "report": self._on_report,
            "consumption": self._on_consumption,
            "waiting": self._on_waiting,
        }

    async def _on_start(self, body: bytes) -> None:
        self._start.set_result(self._told(msgspec.json.decode(body, type=Start)))
        await self._listening

    async def _on_loan(self, body: bytes) -> None:
        loan = msgspec.json.decode(body, type=Loan)
        self._llamas[loan.engine].tell(loan.served, ready=loan.ready)

    async def _on_prepare(self, body: bytes) -> None:
        change = msgspec.json.decode(body, type=Change)
        await self._candidates.prepare(change.epoch, change.text)

    async def _on_commit(self, body: bytes) -> None:
        await self._candidates.commit(msgspec.json.decode(body, type=int))

    async def _on_abandon(self, body: bytes) -> None:
        await self._candidates.abandon(msgspec.json.decode(body, type=int))

    async def _on_report(self, _: bytes) -> Report:
        gateway = self._gateway
        metrics = families(gateway.runtime.metrics.collect())
        return Report(
            pid=os.getpid(),
            state=gateway.state,
            engines=gateway.engine_states,
            reasons=gateway.reasons,
            calls=int(total(metrics, "tidegate_requests_total")),
            queue=gateway.queue_glance,
            metrics=metrics,
        )

    async def _on_consumption(self, body: bytes) -> Consumed:
        level = msgspec.json.decode(body, type=str)
        return consumed(self._gateway.runtime.quotas.limiter, self._gateway.snapshot.config, level)

    async def _on_waiting(self, body: bytes) -> QueueState:
        return self._gateway.own_queue_state(msgspec.json.decode(body, type=Inquiry | None))

    async def run(self, line: Line, gone: asyncio.Task[None]) -> None:
        """Wait for the start message, serve, then drain. `gone` is done once the supervisor has ended."""
        await asyncio.wait((self._start, gone), return_when=asyncio.FIRST_COMPLETED)
        if not self._start.done():
            return
        try:
            await self._serve(line, gone)
        except ConfigError as error:
            self._listening.set_exception(error)
            await gone  # the supervisor reads the error and closes the line
        except CannotListen as error:
            self._listening.set_exception(ConfigError("server", [Problem("server.port", str(error))]))
            await gone

    async def _serve(self, line: Line, gone: asyncio.Task[None]) -> None:
        start = self._start.result()
        config = self._share(start.source.text)
        async with WorkerGateway(config, line=line, runtime=Runtime(make=self._make)) as self._gateway:
            self._candidates = Candidates(self._gateway, self._share)
            # Listen only now: a listening process gets a share of the connections, even if it is not ready.
            server = GatewayServer(self._gateway, bind(config.server, shared=True))
            server.obey_signals()
            # Ignore a second SIGTERM: the service manager and the supervisor may both send one. SIGINT ends the drain.
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, lambda: self._gateway.draining or server.drain())

            def orphaned(_: object) -> None:
                if not self._gateway.draining:
                    log.warning("the supervisor has ended: finishing the running calls")
                    server.drain(grace_s=0)

            gone.add_done_callback(orphaned)
            settle_garbage()
            self._listening.set_result(None)
            await server.serve_until_drained()

    def _told(self, start: Start) -> Start:
        """Apply the start message. This must not await: the next message may be a `loan`, which needs the result."""
        layout = f"%(asctime)s %(levelname)s worker {start.number} %(name)s: %(message)s"
        logging.basicConfig(level=start.log_level, format=layout)
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        servers = embedded(start.source.read())
        for loan in start.loans:
            slots = part(servers[loan.engine].slots, start.number, start.of)
            llama = self._llamas[loan.engine] = LentLlama(loan.served, slots)
            llama.tell(loan.served, ready=loan.ready)
        return start

    def _share(self, text: str | None) -> Config:
        start = self._start.result()
        return share(msgspec.structs.replace(start.source, text=text).read(), start.number, start.of)

    def _make(self, name: str, config: EngineConfig) -> Engine:
        llama = self._llamas.get(name)
        if llama is not None and isinstance(config, EmbeddedConfig):
            return EmbeddedEngine(config, llama=llama)
        return make_engine(name, config)


async def work(connection: socket.socket) -> None:
    """Serve until told to end, or until the supervisor has ended."""
    async with asyncio.TaskGroup() as group:

        def spawn(work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
            return group.create_task(work, name=name)

        worker = Worker()
        line = await Line.over(connection, worker.handlers, spawn)
        listening = group.create_task(line.listen())
        await worker.run(line, listening)
        listening.cancel()


def main() -> None:
    """Move the line away from standard input, so that no child process can inherit it, and run the worker."""
    connection = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    uvloop.run(work(connection))


if __name__ == "__main__":
    main()
