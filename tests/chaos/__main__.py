"""make chaos: crowds of clients against real processes, what was promised of them, and whether it was kept.

Each run starts an engine (`tidegate scripted`) and a gateway, each in a process of its own on the loopback interface; the
clients are this process. The scenarios:

  overload   O1: 64 seats, answers of 4.5 s (median, lognormal), three classes that are promised their first token within
             2, 5 and 60 s, at 1, 2 and 10 times the capacity. Clients wait 20 to 40 s and try three times: when they were
             told to come back, or at once after they lost patience. Beside the gateway's own queue the table has plain
             first come, first served (`fifo`), and the same with a line of at most 100 (`fifo-100`).
  waits      the longest waits of the defaults, and patient clients: predicted against real waits, of one class at twice the
             capacity and of three classes at ten times. (Three classes at twice are shown and have no promise to keep.)
  burst      twice the capacity for 5 s, then half of it: of the clients refused once, how many does the second try serve?
  fairness   O2: two tenants that always wait, whose calls cost 10:1. Each gets half of the tokens.
  flood      O3: ten times the capacity of interactive calls. The other classes keep their shares.
  leaving    O4: clients that leave while they wait and while they read. Seat and engine are free within 250 ms.
  outage     T1: one of three engines fails every call, in six ways one after the other, behind two gateways. Engines get at
             most 1.1 requests for each of the clients', one probe at a time, and failover adds at most 50 ms (p99).
  broken     T2: a thousand answers that break off in mid-stream, in all ways that a proxy can break them.
  storm      a nemesis kills and stops engines and gateways, breaks the network and lets clocks jump, by the seed.

The last three run several gateways and engines, with a proxy of faults before each engine (tests/chaos/faults). They write
what clients and engines saw to tests/chaos/.build/history-NAME.jsonl, and checkers look for lies in it.
Only the gateway's own queue has promises to keep; the others are there to compare. The status is 1 if a promise is broken.
The figures are explained in tests/chaos/figures.py, and everything is written to tests/chaos/.build/summary.json.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from chaos.faults.figures import Row, row_of
from chaos.faults.figures import table as table_of_faults
from chaos.faults.history import History
from chaos.faults.plan import Fault
from chaos.faults.promises import of_outage, of_rules
from chaos.faults.scenarios import FAILS, broken_answers, mid_stream, outage, seconds_passed, storm
from chaos.faults.world import SEATS
from chaos.fifo import LONGEST
from chaos.figures import Cell, compare_memory, table
from chaos.leaving import leaving
from chaos.overload import BURST, LOADS, WARM_S, burst, overloaded, waits
from chaos.processes import processes
from chaos.promises import (
    Promise,
    of_burst,
    of_fairness,
    of_flood,
    of_leaving,
    of_overload,
    of_steady,
    of_waits,
)
from chaos.shares import fair, flooded

T = TypeVar("T")

OWN = "tidegate"
REFUSAL_MS = 20.0
SHORT_S = 60.0
"""Shorter than this, the ways to fail share the seconds of a measurement."""
LATE_MS = 10.0
"""Clients that come later than this show that the machine is too slow to measure refusals of 20 ms."""
BUILD = Path(__file__).resolve().parent / ".build"
SUMMARY = BUILD / "summary.json"
MID_STREAM_FAULTS = 1000
FAULT_CLIENTS = 16


@dataclass
class Report:
    """What was measured, and which promises were kept."""

    options: argparse.Namespace
    cells: list[Cell] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    others: dict[str, Any] = field(default_factory=dict)

    def keep(self, found: list[Promise]) -> None:
        """Take in promises and show them."""
        self.promises += found
        for one in found:
            print(f"  {one}", flush=True)

    @property
    def late_ms(self) -> dict[str, float]:
        """How late the clients of each run were (p99)."""
        return {
            **{f"{cell.queue} at {cell.load}": cell.late_p99_ms for cell in self.cells},
            **{row.name: row.late_p99_ms for row in self.rows},
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "options": vars(self.options),
            "cells": [asdict(cell) for cell in self.cells],
            "faults": [asdict(row) for row in self.rows],
            "promises": [asdict(one) for one in self.promises],
            **self.others,
        }


async def _overload(report: Report) -> None:
    options = report.options
    for queue in options.queues:
        cells: list[Cell] = []
        for load in LOADS:
            work = overloaded(processes, queue, load, seconds=options.seconds, seed=options.seed)
            cells.append(await shown(f"{queue} at {load:g}x", WARM_S + options.seconds, work))
        compare_memory(cells)
        report.cells += cells
        print(table(cells), flush=True)
        if queue == OWN:
            report.keep(of_overload(cells, refusal_ms=REFUSAL_MS) + of_steady(cells[1]))


async def _waits(report: Report) -> None:
    options, cells = report.options, list[Cell]()
    for load, mix in ((2.0, {"default": 1.0}), (2.0, {}), (10.0, {})):
        work = waits(processes, OWN, load, seconds=options.seconds, seed=options.seed, **mix)
        cells.append(await shown(f"waits at {load:g}x", WARM_S + options.seconds, work))
    report.cells += cells
    print(table(cells), flush=True)
    report.keep(of_waits([cells[0], cells[2]]))


async def _burst(report: Report) -> None:
    options, length_s = report.options, sum(seconds for _, seconds in BURST)
    times = max(1, round(2 * options.seconds / length_s))
    work = burst(processes, OWN, times=times, seed=options.seed)
    cell = await shown(f"bursts, {times} times", times * length_s, work)
    report.cells.append(cell)
    print(table([cell]), flush=True)
    report.keep(of_burst(cell))


async def _fairness(report: Report) -> None:
    seconds = report.options.seconds
    parts = await shown("two tenants", seconds, fair(processes, OWN, seconds=seconds))
    report.others["fairness"] = parts
    report.keep(of_fairness(parts))


async def _flood(report: Report) -> None:
    seconds = 2 * report.options.seconds
    work = flooded(processes, OWN, seconds=seconds, seed=report.options.seed)
    cell = await shown("a flood", WARM_S + seconds, work)
    report.cells.append(cell)
    print(table([cell]), flush=True)
    report.keep(of_flood(cell))


async def _leaving(report: Report) -> None:
    rounds = max(20, round(4 * report.options.seconds))
    work = leaving(OWN, rounds=rounds, seed=report.options.seed)
    found = await shown(f"{rounds} clients that leave", 0.15 * rounds, work)
    report.others["leaving"] = asdict(found)
    report.keep(of_leaving(found))


async def _faulty(
    report: Report, name: str, seconds: float, run: Callable[[Path], Coroutine[Any, Any, History]]
) -> History:
    """Run a scenario of faults, write its history, and judge what holds for every history."""
    with tempfile.TemporaryDirectory() as folder:
        history = await shown(name, seconds, run(Path(folder)))
    BUILD.mkdir(exist_ok=True)
    history.write(BUILD / f"history-{name.replace(' ', '-')}.jsonl")
    row = row_of(name, history)
    report.rows.append(row)
    print(table_of_faults([row]), flush=True)
    report.keep(of_rules(name, history, seats=SEATS))
    return history


async def _outage(report: Report) -> None:
    options = report.options
    each_s = options.seconds / len(FAILS) if options.seconds < SHORT_S else options.seconds
    calm_s = each_s / 4
    for how, fault in FAILS.items():
        name = f"outage by {how}"

        def run(folder: Path, fault: Fault = fault) -> Coroutine[Any, Any, History]:
            return outage(
                folder,
                fault=fault,
                seed=str(options.seed),
                clients=FAULT_CLIENTS,
                calm=seconds_passed(calm_s),
                enough=seconds_passed(calm_s + each_s),
            )

        history = await _faulty(report, name, calm_s + each_s, run)
        report.keep(of_outage(name, history))


async def _broken(report: Report) -> None:
    seed = str(report.options.seed)

    def run(folder: Path) -> Coroutine[Any, Any, History]:
        return broken_answers(
            folder,
            seed=seed,
            clients=4 * FAULT_CLIENTS,
            share=0.6,
            enough=lambda found: mid_stream(found) >= MID_STREAM_FAULTS,
        )

    await _faulty(report, "broken answers", 60, run)


async def _storm(report: Report) -> None:
    seed, seconds = str(report.options.seed), 2 * report.options.seconds

    def run(folder: Path) -> Coroutine[Any, Any, History]:
        return storm(folder, seed=seed, clients=FAULT_CLIENTS, harm_s=(0.3, 3.0), seconds=seconds)

    await _faulty(report, "storm", seconds, run)


SCENARIOS: dict[str, Callable[[Report], Awaitable[None]]] = {
    "overload": _overload,
    "waits": _waits,
    "burst": _burst,
    "fairness": _fairness,
    "flood": _flood,
    "leaving": _leaving,
    "outage": _outage,
    "broken": _broken,
    "storm": _storm,
}
"""The scenarios by name, in order. Another one is a function here and a paragraph above."""


async def shown(name: str, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Do some work, and meanwhile show on a terminal how long it will take."""
    task, began = asyncio.create_task(work), time.monotonic()
    while not task.done():
        if sys.stdout.isatty():
            left_s = max(0.0, seconds - (time.monotonic() - began))
            print(f"\r\x1b[K{name}: {left_s:.0f} s left", end="", flush=True)
        await asyncio.wait([task], timeout=1)
    print("\r\x1b[K" if sys.stdout.isatty() else f"{name}: done\n", end="", flush=True)
    return task.result()


async def run(options: argparse.Namespace) -> Report:
    report = Report(options)
    for name in options.only or SCENARIOS:
        print(f"\n{name}", flush=True)
        await SCENARIOS[name](report)
    return report


def main() -> int:
    """The exit status."""
    options = _options()
    # A crowd that waits in a line without a bound has thousands of connections.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.disable()  # a pause of the clients would look like one of the gateway
    print(f"seed {options.seed}, {options.seconds:g} s each")
    try:
        report = uvloop.run(run(options))
    except KeyboardInterrupt:
        print("\nstopped: nothing was written", file=sys.stderr)
        return 130
    broken = [one for one in report.promises if not one.kept]
    SUMMARY.parent.mkdir(exist_ok=True)
    SUMMARY.write_text(json.dumps(report.as_json(), indent=1), "utf-8")
    for name, late_ms in report.late_ms.items():
        if late_ms > LATE_MS:
            late = f"clients came {late_ms:.0f} ms late (p99)"
            print(f"\n{name}: {late}; this machine is too busy for times in milliseconds")
    print(f"\n{len(report.promises) - len(broken)} promises kept, {len(broken)} broken; figures in {SUMMARY}")
    for one in broken:
        print(f"  {one}")
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='make chaos ARGS="…"',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='Examples:\n  make chaos ARGS="--seconds 15"\n'
        '  make chaos ARGS="--only overload --queues tidegate --seed 7"\n'
        '  make chaos ARGS="--only fairness leaving"',
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=60,
        help="length of each measurement (default: %(default)s; a whole run takes about half an hour)",
    )
    parser.add_argument("--seed", type=int, default=1, help="the clients that come (default: %(default)s)")
    parser.add_argument(
        "--only", nargs="+", choices=SCENARIOS, metavar="NAME", help=f"only these: {', '.join(SCENARIOS)}"
    )
    parser.add_argument(
        "--queues",
        nargs="+",
        choices=[OWN, *LONGEST],
        default=[OWN, *LONGEST],
        metavar="NAME",
        help=f"the queues of the scenario overload: {OWN}, {', '.join(LONGEST)} (default: all)",
    )
    options = parser.parse_args()
    if options.seconds < 5:
        parser.error("--seconds: give at least 5, or nothing can be told from the figures")
    return options


if __name__ == "__main__":
    sys.exit(main())
