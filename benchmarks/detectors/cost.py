"""What the detectors cost on one core: times of checks, texts a second and memory, and what readers of streams notice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from benchmarks.detectors.once import Once
from benchmarks.detectors.plans import NoPlan, Subject
from benchmarks.detectors.tables import Bound, Cell, Column, Line, Table

RULES: Final = "rules"
STREAMS, RATE = 50, 50
ROOT: Final = Path(__file__).resolve().parents[2]


class Failed(Exception):
    """A measurement ended without figures. The message says why."""


def _measured(profile: str, config: Path | None, only: Sequence[str], checks: int, core: int) -> Once:
    command = [sys.executable, "-m", "benchmarks.detectors.once", profile, "--checks", str(checks)]
    command += ["--core", str(core), *(["--config", str(config)] if config else [])]
    command += ["--only", ",".join(only)] if only else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise Failed(f"profile '{profile}': {done.stderr.decode(errors='replace').strip()[-500:]}")
    return msgspec.json.decode(done.stdout, type=Once)


def latency(about: Subject, checks: int, core: int) -> Table:
    """Return the table of times and memory, each line measured in a process of its own."""
    if not about.detectors:
        raise NoPlan(f"the profile '{about.profile}' has no detectors to be timed")
    rules = _measured(RULES, None, (), checks, core)
    alone = _measured(about.profile, about.config, sorted(about.detectors), checks, core)
    whole = _measured(about.profile, about.config, (), checks, core)
    return table(about.profile, rules, alone, whole)


def table(profile: str, rules: Once, alone: Once, whole: Once) -> Table:
    """Return the table of three measurements: the profile `rules`, the detectors alone, and the whole profile."""
    one = alone.long_one_window
    more = whole.memory_mib - rules.memory_mib
    bounds = [
        Bound(what="30 tokens, p50", value=alone.short.p50_ms, limit=4, form="ms"),
        Bound(what="30 tokens, p99", value=alone.short.p99_ms, limit=6, form="ms"),
        Bound(what="500 tokens, one window, p50", value=one and one.p50_ms, limit=12, form="ms"),
        Bound(what="500 tokens, one window, p99", value=one and one.p99_ms, limit=18, form="ms"),
        Bound(what="500 tokens, p50", value=alone.long.p50_ms, limit=30, form="ms"),
        Bound(what="texts/s", value=alone.short_per_s, limit=400, least=True, form="count"),
    ]
    memory = [Bound(what="more than `rules`, MiB", value=more, limit=120, form="ms")]
    lines = [
        Line(f"profile `{RULES}`", _cells(rules)),
        Line("the detectors alone", _cells(alone), bounds),
        Line(f"profile `{profile}`", _cells(whole), memory),
    ]
    columns = (
        Column("30 tokens: p50 ms", "ms"),
        Column("p99", "ms"),
        Column("500 tokens, one window: p50", "ms"),
        Column("p99", "ms"),
        Column("500 tokens: p50", "ms"),
        Column("p99", "ms"),
        Column("texts/s, 32 at once", "count"),
        Column("memory MiB", "count"),
    )
    note = (
        f"One core; {alone.short.checks:,} checks of 30 tokens, {alone.long.checks:,} of 500. The memory is that of the "
        "whole process, with all that the command itself loads."
    )
    return Table(title="Time and memory", first="rails", columns=columns, lines=lines, note=note)


def _cells(found: Once) -> list[Cell]:
    one = found.long_one_window
    narrow: list[Cell] = [one.p50_ms, one.p99_ms] if one else [None, None]
    times: list[Cell] = [
        found.short.p50_ms,
        found.short.p99_ms,
        *narrow,
        found.long.p50_ms,
        found.long.p99_ms,
    ]
    return [*times, found.short_per_s, found.memory_mib]


class Round(msgspec.Struct, frozen=True):
    """One load of streams: the delay from chunk to chunk, and the requests that were answered meanwhile."""

    itl_p50_ms: float
    itl_p99_ms: float
    chunks_s: float
    answered: int
    p50_ms: float
    p99_ms: float


def streams_table(profile: str, without: Sequence[Round], classified: Sequence[Round]) -> Table:
    """Return the table of streams beside requests that are classified, and beside the same ones that are not."""
    moved = median(two.itl_p99_ms - one.itl_p99_ms for one, two in zip(without, classified, strict=True))
    bound = Bound(what="p99 ITL moves by, ms", value=round(moved, 3), limit=2, form="ms")
    lines = [
        Line("without rails", _middle(without)),
        Line(f"profile `{profile}`", _middle(classified), [bound]),
    ]
    columns = (
        Column("ITL p50 ms", "ms"),
        Column("ITL p99 ms", "ms"),
        Column("chunks/s", "count"),
        Column("requests answered", "count"),
        Column("their p50 ms", "ms"),
        Column("p99 ms", "ms"),
    )
    note = (
        f"{STREAMS} streams without rails, a chunk each 20 ms, while {RATE} requests a second come with the profile, or "
        f"without one. The gateway has one core. Medians of {len(without)} rounds in turn; the bound is on the median "
        "of the differences."
    )
    return Table(
        title="Streams beside the detectors", first="requests", columns=columns, lines=lines, note=note
    )


def _middle(rounds: Sequence[Round]) -> list[Cell]:
    return [
        median(getattr(one, name) for one in rounds)
        for name in ("itl_p50_ms", "itl_p99_ms", "chunks_s", "answered", "p50_ms", "p99_ms")
    ]
