"""One harness under atheris, in a process of its own: coverage decides which input is changed next.

libFuzzer would stop at the first exception; here each kind of it is kept once, with its input, and the search goes on.
Writes what happened to `state.json` in the folder given. Started by run.py.
"""

from __future__ import annotations

import argparse
import heapq
import json
import logging
import os
import sys
import time
import traceback
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tidegate", "uvicorn"]):
    from harnesses import LIMIT_S, MAX_BYTES, Harness, Watch, open_harnesses

KEPT = 10
"""Slowest inputs that are kept: they are measured again without the instruments, which slow everything down."""
FINDINGS = 20


class Observer:
    """Calls a harness and remembers what is worth it."""

    def __init__(self, harness: Harness, folder: Path, executions: int) -> None:
        self._harness = harness
        self._folder = folder
        self._executions = executions
        self._done = 0
        self._bytes = 0
        self._began = time.monotonic()
        self._slowest: list[tuple[float, bytes]] = []
        self._findings: dict[str, dict[str, str]] = {}

    def __call__(self, data: bytes) -> None:
        watch = Watch()
        try:
            self._harness(data, watch)
        except (Exception, RecursionError) as error:  # noqa: BLE001 - whatever it is, it is what we look for
            self._keep(error, data)
        self._done += 1
        self._bytes += len(data)
        if len(self._slowest) < KEPT or watch.spent_s > self._slowest[0][0]:
            if len(self._slowest) == KEPT:
                heapq.heappop(self._slowest)
            heapq.heappush(self._slowest, (watch.spent_s, data))
        if self._done % 5000 == 0:
            self._write()
        if self._done >= self._executions:
            self._write()
            sys.stdout.flush()
            os._exit(0)  # libFuzzer would not come back either

    def _keep(self, error: BaseException, data: bytes) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
        kind = f"{type(error).__name__} {where}"
        known = self._findings.get(kind)
        if known is None and len(self._findings) >= FINDINGS:
            return
        path = self._folder / f"found-{type(error).__name__}-{where.replace(':', '-')}.bin"
        if known is None or len(data) < path.stat().st_size:  # the smallest of its kind
            path.write_bytes(data)
            trace = "".join(traceback.format_exception(error))[-3000:]
            self._findings[kind] = {
                "kind": kind,
                "file": path.name,
                "error": str(error)[:500],
                "trace": trace,
            }
            self._write()

    def _write(self) -> None:
        slowest = []
        for number, (spent_s, data) in enumerate(sorted(self._slowest, reverse=True)):
            name = f"slow-{number}.bin"
            (self._folder / name).write_bytes(data)
            slowest.append({"file": name, "bytes": len(data), "instrumented_ms": spent_s * 1000})
        state = {
            "executions": self._done,
            "bytes": self._bytes,
            "seconds": time.monotonic() - self._began,
            "findings": list(self._findings.values()),
            "slowest": slowest,
        }
        (self._folder / "state.json").write_text(json.dumps(state, indent=1), "utf-8")


def main() -> None:
    """Runs until so many executions are done."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--executions", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("corpora", nargs="*")
    options = parser.parse_intermixed_args()
    logging.disable(logging.CRITICAL)  # what is refused is logged, a million times
    with open_harnesses() as harnesses:
        observer = Observer(harnesses[options.name], options.folder, options.executions)
        dictionary = Path(__file__).with_name("words.dict")
        flags = [
            f"-seed={options.seed}",
            f"-max_len={MAX_BYTES}",
            "-len_control=20",
            f"-dict={dictionary}",
            f"-timeout={max(20, int(400 * LIMIT_S))}",
            "-rss_limit_mb=3000",
            "-verbosity=0",
            f"-artifact_prefix={options.folder}/",
        ]
        atheris.Setup([sys.argv[0], *flags, *options.corpora], observer)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
