"""Whole runs: an engine that fails for a while, answers that break off, and a nemesis. Each returns its history."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from chaos.faults.clients import Timing, crowd
from chaos.faults.history import Act, History
from chaos.faults.nemesis import nemesis
from chaos.faults.plan import BREAKS_OFF, SLOWS, Fault, Kind, always, by_chance, sound
from chaos.faults.world import World, world

FAILS = {
    "500": Fault(Kind.STATUS, status=500, seconds=0.05),
    "503": Fault(Kind.STATUS, status=503, seconds=0.05, retry_after_s=1.0),
    "429": Fault(Kind.STATUS, status=429, seconds=0.05, retry_after_s=1.0),
    "RST": Fault(Kind.REFUSE),
    "RST before the head": Fault(Kind.RESET),
    "half open": Fault(Kind.HALF_OPEN),
}
"""The ways in which an engine fails altogether. None of them reaches the client's answer."""
OUTAGE = "outage"
Enough = Callable[[World], bool]


async def outage(
    folder: Path, *, fault: Fault, seed: str, clients: int, calm: Enough, enough: Enough
) -> History:
    """The first engine fails every call, after enough `calm`, until there is `enough` of that."""
    async with world(folder) as found:
        timing = Timing(ttft_ms=20, itl_ms=2)
        await crowd(found, lambda number: not calm(found), clients=clients, seed=seed, timing=timing)
        began_at, failing = time.monotonic(), found.engines[0]
        failing.proxy.plan = always(fault)
        await crowd(found, lambda number: not enough(found), clients=clients, seed=seed, timing=timing)
        found.acts.append(Act(what=OUTAGE, whom=failing.name, began_at=began_at, ended_at=time.monotonic()))
        failing.proxy.plan = sound
        return found.history()


def requests(number: int) -> Enough:
    """So many requests since the start."""
    return lambda found: len(found.ops) >= number


def seconds_passed(seconds: float) -> Enough:
    """So many seconds since the first request."""
    return lambda found: bool(found.ops) and time.monotonic() >= found.ops[0].sent_at + seconds


async def broken_answers(folder: Path, *, seed: str, clients: int, share: float, enough: Enough) -> History:
    """This share of the answers of every engine breaks off or is slowed, in all ways of the proxy."""
    kinds = sorted(BREAKS_OFF | SLOWS, key=lambda kind: kind.value)
    async with world(folder) as found:
        for engine in found.engines:
            engine.proxy.plan = by_chance(f"{seed}/{engine.name}", share, kinds)
        timing = Timing(ttft_ms=5, itl_ms=1)
        await crowd(found, lambda number: not enough(found), clients=clients, seed=seed, timing=timing)
        return found.history()


async def storm(
    folder: Path,
    *,
    seed: str,
    clients: int,
    harm_s: tuple[float, float],
    rounds: int = 0,
    seconds: float = 0.0,
) -> History:
    """A nemesis does so many `rounds` of harm, or for so many `seconds`."""
    async with world(folder) as found:
        over = asyncio.Event()

        async def harm() -> None:
            try:
                until = time.monotonic() + seconds
                await nemesis(found, seed=seed, seconds=harm_s, rounds=rounds, until=until)
            finally:
                over.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(harm())
            group.create_task(crowd(found, lambda number: not over.is_set(), clients=clients, seed=seed))
        return found.history()


def mid_stream(found: World) -> int:
    """How many answers have broken off after their beginning."""
    broken = {kind.value for kind in BREAKS_OFF}
    return sum(
        one.fault in broken and one.after > 0 for engine in found.engines for one in engine.proxy.passed
    )


def outage_at(history: History) -> float:
    """When the engine began to fail."""
    return next(act.began_at for act in history.acts if act.what == OUTAGE)


def during_outage(history: History) -> History:
    """The requests that clients sent while the engine failed, and the engine calls for them."""
    began_at = outage_at(history)
    ops = [op for op in history.ops if op.sent_at >= began_at]
    numbers = {op.number for op in ops}
    passed = [one for one in history.passed if one.op in numbers]
    return History(ops, history.asked, passed, history.acts, history.late)
