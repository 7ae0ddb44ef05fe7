"""Runs the sending process and receives its reports. `worker.py` explains why a separate process sends."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable
from typing import Protocol

import msgspec

from tidegate.ops.load.bench import Unusable
from tidegate.ops.load.options import BadOptions, Options
from tidegate.ops.load.result import Result
from tidegate.ops.load.worker import Ended, Failure, Finished, Progress, Report, work


def run_bench(options: Options, *, key: str, show: Callable[[Progress | Ended], None]) -> Result:
    """Run a load test and return its result. Raises BadOptions, and Unusable if the server cannot be tested.

    The first Ctrl-C ends the test early, with the figures so far. The second one raises KeyboardInterrupt at once.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    sender = context.Process(target=work, args=(msgspec.json.encode(options), key, theirs))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited by the sender; `_Interrupts` tells it
    try:
        sender.start()
        theirs.close()
        stop = _Interrupts(sender)
        signal.signal(signal.SIGINT, stop)
        try:
            return _follow(ours, show, stop)
        finally:
            sender.join(1.0)
            if sender.is_alive():
                sender.kill()
                sender.join()
    finally:
        signal.signal(signal.SIGINT, before)


class _Sender(Protocol):
    def terminate(self) -> None: ...


class _Interrupts:
    """Handles Ctrl-C. The first one only asks the sender to end, since an exception could cut a report in two."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self.happened = False

    def __call__(self, *_: object) -> None:
        if self.happened:
            raise KeyboardInterrupt
        self.happened = True
        self._sender.terminate()
        said = "\nEnding: running requests may finish. Press Ctrl-C again to stop at once.\n"
        sys.stderr.write(said)


class _Pipe(Protocol):
    def recv_bytes(self) -> bytes: ...


def _follow(pipe: _Pipe, show: Callable[[Progress | Ended], None], stop: _Interrupts) -> Result:
    while True:
        try:
            data = pipe.recv_bytes()
        except EOFError as error:
            if stop.happened:
                raise KeyboardInterrupt from error
            raise Unusable("the sending process ended without a report") from error
        report = msgspec.json.decode(data, type=Report)
        if isinstance(report, Finished):
            return report.result
        if isinstance(report, Failure):
            raise (BadOptions if report.usage else Unusable)(report.message)
        show(report)
