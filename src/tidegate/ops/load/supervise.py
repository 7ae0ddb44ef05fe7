"""Runs the process that sends and follows it. See worker.py for why it is one of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Protocol

import msgspec

from tidegate.ops.load.bench import Unusable
from tidegate.ops.load.options import BadOptions, Options
from tidegate.ops.load.result import Result
from tidegate.ops.load.worker import Ended, Failure, Finished, Progress, Report, work


def run_bench(options: Options, *, key: str, show: Callable[[Progress | Ended], None]) -> Result:
    """Run a load test and return what it found. Raises BadOptions, and Unusable when the server cannot be tested.

    The first Ctrl-C ends it early with the figures so far, the second one at once (KeyboardInterrupt).
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    sender = context.Process(target=work, args=(msgspec.json.encode(options), key, theirs))
    sender.start()
    theirs.close()
    try:
        return _follow(ours, show)
    finally:
        sender.join(1.0)
        if sender.is_alive():
            sender.kill()
            sender.join()


class _Pipe(Protocol):
    def recv_bytes(self) -> bytes: ...


def _follow(pipe: _Pipe, show: Callable[[Progress | Ended], None]) -> Result:
    interrupted = False
    while True:
        try:
            data = pipe.recv_bytes()
        except EOFError as error:
            if interrupted:
                raise KeyboardInterrupt from error
            raise Unusable("the process that sends died without a word") from error
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True  # the sender got the signal too, and comes to an end
            continue
        report = msgspec.json.decode(data, type=Report)
        if isinstance(report, Finished):
            return report.result
        if isinstance(report, Failure):
            raise (BadOptions if report.usage else Unusable)(report.message)
        show(report)
