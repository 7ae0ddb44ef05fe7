"""Measures one profile in a process of its own, on one core: times of single checks, texts a second, and memory.

    python -m benchmarks.detectors.once PROFILE [--config FILE] [--only RAIL,...] [--checks N] [--core N]

Prints one line of JSON. The texts are of common words, none twice, so that nothing that a rail remembers helps.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import numpy as np
from benchmarks.detectors.plans import NoPlan, Subject, plan, subject

from tidegate.cli.evals.running import check_with
from tidegate.cli.rails import choosing
from tidegate.cli.rails.choosing import Chosen
from tidegate.kernel.text.views import Views
from tidegate.models.detecting import Detector
from tidegate.ops.evals.checking import Check, check_all
from tidegate.ops.evals.rows import Row

_WORDS = """
time year people way day man thing woman life child world school state family student group country
problem hand part place case week company system program question work government number night point
home water room mother area money story fact month lot right study book eye job word business issue side
kind head house service friend father power hour game line end member law car city community name
president team minute idea body information back parent face level
"""
WORDS: Final = tuple(_WORDS.split())
"""Common words, each of which is one token of MiniLM."""
SPECIAL: Final = 2
"""Tokens that the tokenizer adds: [CLS] and [SEP]."""
SHORT, LONG = 30, 500
AT_ONCE: Final = 32
WARM_UP: Final = 20


class Times(msgspec.Struct, frozen=True):
    """The times of checks of single texts, one after the other."""

    checks: int
    p50_ms: float
    p99_ms: float


class Once(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured. `memory_mib` is the resident memory with all rails open and used.

    `short_per_s` is how many short texts a second are checked, 32 at once. `long_one_window` is measured with the encoder
    alone, so only where single rails are.
    """

    short: Times
    long: Times
    long_one_window: Times | None
    short_per_s: float
    memory_mib: float


def text(tokens: int, draw: Random) -> str:
    """Return a text of so many tokens."""
    return " ".join(draw.choice(WORDS) for _ in range(tokens - SPECIAL))


def rows(tokens: int, count: int, seed: int) -> list[Row]:
    """Return so many different texts, each of so many tokens."""
    draw = Random(f"{seed} {tokens}")
    return [Row(f"once:{at}", "once", text(tokens, draw), "benign", False, {}) for at in range(count)]


def resident_mib() -> float:
    """Return the resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmRSS")


def times(took_s: Sequence[float]) -> Times:
    """Return the quantiles of some times."""
    p50, p99 = np.percentile(took_s, (50, 99)) * 1000
    return Times(len(took_s), round(float(p50), 3), round(float(p99), 3))


async def _single(check: Check, texts: Sequence[Row]) -> Times:
    done, _ = await check_all(texts, check, jobs=1, progress=lambda _: None)
    failed = [said.error for one in done for said in one.rails.values() if said.error]
    if failed:
        raise NoPlan(f"a rail failed: {failed[0]}")
    return times([one.took_s for one in done][WARM_UP:])


async def _several(check: Check, texts: Sequence[Row]) -> float:
    await check_all(texts[:AT_ONCE], check, jobs=AT_ONCE, progress=lambda _: None)
    began = time.perf_counter()
    await check_all(texts, check, jobs=AT_ONCE, progress=lambda _: None)
    return round(len(texts) / (time.perf_counter() - began), 1)


def measured(chosen: Chosen, checks: int, seed: int) -> tuple[Times, Times, float, float]:
    """Return the times of short and of long texts, short texts a second, and the memory."""

    async def work() -> tuple[Times, Times, float, float]:
        check = check_with(chosen)
        short = await _single(check, rows(SHORT, checks + WARM_UP, seed))
        long = await _single(check, rows(LONG, checks // 2 + WARM_UP, seed))
        memory = resident_mib()
        return short, long, await _several(check, rows(SHORT, 4 * checks, seed + 1)), memory

    return choosing.run(chosen, work)


async def _one_window(checks: int, seed: int) -> Times:
    """Return the times of the encoder with one window of each long text, whatever rails read it."""
    detector = Detector(most_windows=1)
    took_s: list[float] = []
    for one in rows(LONG, checks + WARM_UP, seed):
        began = time.perf_counter()
        await detector.read(Views(one.text), math.inf)
        took_s.append(time.perf_counter() - began)
    await detector.close()
    return times(took_s[WARM_UP:])


def once(about: Subject, only: frozenset[str], checks: int, seed: int) -> Once:
    """Measure a profile, or only some of its rails. Raises NoPlan if there are none for prompts."""
    chosen = plan(about, "input", only=only)
    if chosen is None:
        raise NoPlan(f"the profile '{about.profile}' has no rail for the surface 'input'")
    short, long, per_s, memory = measured(chosen, checks, seed)
    one_window = asyncio.run(_one_window(checks // 2, seed + 2)) if only else None
    return Once(short=short, long=long, long_one_window=one_window, short_per_s=per_s, memory_mib=memory)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("profile")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--only", default="", help="the names of rails, divided by commas; default: all")
    parser.add_argument("--checks", type=int, default=400)
    parser.add_argument("--core", type=int)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    try:
        about = subject(given.profile, given.config, {}, 1)
        found = once(about, frozenset(filter(None, given.only.split(","))), given.checks, given.seed)
    except NoPlan as problem:
        print(problem, file=sys.stderr)
        return 2
    print(msgspec.json.encode(found).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
