"""The sending process. It does no other work, since drawing a table in the same process would show in the latencies.

The process gets Options. It reports through a pipe: a Progress twice a second, each Step when it ends, and at last the
Result or a Failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import msgspec
import uvloop

from tidegate.egress.exchange import Timeouts
from tidegate.egress.pool import HttpClient
from tidegate.egress.tls import SYSTEM_ONLY, TlsFiles
from tidegate.ops.load.bench import Bench, Unusable, Watcher
from tidegate.ops.load.options import BadOptions, Options
from tidegate.ops.load.plan import Closed
from tidegate.ops.load.result import Result, Step
from tidegate.ops.load.run import Record

_EVERY_S = 0.5
# The number of latest answers in the live percentiles. Sorting them takes a few dozen microseconds.
_LATEST = 200
# A reserve for the other open files of the process: the pipe, the event loop's, the standard streams, and some more.
_OTHER_FILES = 20


class Progress(msgspec.Struct, tag=True, frozen=True):
    """The progress of a step. Times are in ms. `share` is the part of the step that is over, 0 to 1."""

    index: int
    share: float
    sent: int
    in_flight: int
    failed: int
    per_s: float
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None


class Ended(msgspec.Struct, tag=True, frozen=True):
    """A step is over."""

    index: int
    step: Step


class Finished(msgspec.Struct, tag=True, frozen=True):
    """The run is over."""

    result: Result


class Failure(msgspec.Struct, tag=True, frozen=True):
    """The run has no result. `usage` is true if the options are the cause, and false if the server is."""

    message: str
    usage: bool


Report = Progress | Ended | Finished | Failure


def work(options: bytes, key: str, pipe: Connection) -> None:
    """Run the sending process."""
    _allow_files()
    uvloop.run(_work(msgspec.json.decode(options, type=Options), key, pipe))


def _allow_files() -> None:
    """Raise the limit of open files as far as possible, since a failed open would count as an error of the server."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems report "unlimited" and allow less
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _too_many(options: Options) -> str:
    """Return a message if the limit of open files is too low for the connections, else an empty text."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.most_connections + _OTHER_FILES
    if files == resource.RLIM_INFINITY or wanted <= files or options.rates or options.trace:
        return ""
    return f"{options.most_connections} users need {wanted} open files, {files} are allowed: see `ulimit -n`"


def _authority(options: Options) -> TlsFiles:
    return TlsFiles(Path(options.ca_path)) if options.ca_path else SYSTEM_ONLY


async def _work(options: Options, key: str, pipe: Connection) -> None:
    def tell(report: Report) -> None:
        try:
            pipe.send_bytes(msgspec.json.encode(report))
        except BrokenPipeError:  # the parent has ended, so the load ends too
            bench.stop()

    if refusal := _too_many(options):
        tell(Failure(refusal, usage=True))
        return
    limit = options.timeout_s
    timeouts = Timeouts(connect=min(10.0, limit), first_byte=limit, idle=limit, total=limit)
    most = options.most_connections + 2
    client = HttpClient(options.url, timeouts, max_connections=most, files=_authority(options))
    bench = Bench(options, client, clock=perf_counter, key=key)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, bench.stop)
    try:
        async with asyncio.TaskGroup() as group:
            reporter = _Reporter(tell, group)
            try:
                result = await bench.run(Watcher(began=reporter.began, ended=reporter.ended))
                tell(Finished(result))
            except BadOptions as error:
                tell(Failure(str(error), usage=True))
            except Unusable as error:
                tell(Failure(str(error), usage=False))
            finally:
                reporter.stop()
    finally:
        await client.close()


class _Reporter:
    def __init__(self, tell: Callable[[Report], None], group: asyncio.TaskGroup) -> None:
        self._tell = tell
        self._group = group
        self._task: asyncio.Task[None] | None = None

    async def began(self, index: int, record: Record) -> None:
        self._task = self._group.create_task(self._follow(index, record))

    async def ended(self, index: int, step: Step) -> None:
        self.stop()
        self._tell(Ended(index, step))

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _follow(self, index: int, record: Record) -> None:
        before, at = 0, perf_counter()
        while True:
            await asyncio.sleep(_EVERY_S)
            now = perf_counter()
            count = len(record.samples)
            self._tell(_progress(index, record, now=now, per_s=(count - before) / (now - at)))
            before, at = count, now


def _progress(index: int, record: Record, *, now: float, per_s: float) -> Progress:
    latest = record.samples[-_LATEST:]
    ttfts = sorted(sample.contents[0] - sample.due for sample in latest if sample.contents)
    elapsed = (now - record.began) / max(record.step.duration_s, 1e-9)
    sent = len(record.samples)
    if isinstance(record.step, Closed) and record.step.requests:
        elapsed = max(elapsed, sent / record.step.requests)
    return Progress(
        index=index,
        share=min(1.0, elapsed),
        sent=sent + record.in_flight,
        in_flight=record.in_flight,
        failed=sum(not sample.ok for sample in latest),
        per_s=per_s,
        ttft_p50_ms=ttfts[len(ttfts) // 2] * 1000 if ttfts else None,
        ttft_p95_ms=ttfts[int(len(ttfts) * 0.95)] * 1000 if ttfts else None,
    )
