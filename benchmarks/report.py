"""Evaluates the samples: medians, ratios to the floor, the goals, and the table that shows them.

Every figure is the median over the rounds. A ratio to the floor is computed for each round, between two measurements a few
seconds apart; the result is the median of these ratios. This cancels changes in the speed of the machine.
"""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

DIRECT, FLOOR = "direct", "floor"
PACKAGES = ("uvicorn", "uvloop", "httptools", "starlette", "msgspec")

# How a figure is called in the table, and with how many decimals.
FIGURES = {
    "cpu_us_request": ("CPU µs a request", 1),
    "cpu_us_chunk": ("CPU µs a chunk", 1),
    "rps": ("requests/s", 0),
    "chunks_s": ("chunks/s", 0),
    "p50_ms": ("p50 ms", 3),
    "p99_ms": ("p99 ms", 3),
    "ttft_p50_ms": ("TTFT p50 ms", 3),
    "one_way_p50_ms": ("one-way p50 ms", 3),
    "one_way_p99_ms": ("one-way p99 ms", 3),
}


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One load on one target in one round."""

    round: int
    target: str
    scenario: str
    figures: dict[str, float]  # by the names in FIGURES, and `bad`


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """The memory and start time of a target."""

    start_s: float
    start_mib: float  # after the first answer
    end_mib: float = 0.0  # after all load


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A figure that may not exceed its limit."""

    name: str
    value: float
    limit: float

    @property
    def met(self) -> bool:
        return self.value <= self.limit


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as `--json` writes it."""

    gateway: str
    machine: dict[str, str]
    rounds: int
    foreign_load: float  # share of the two cores' time that others took during the run
    footprints: dict[str, Footprint]
    goals: list[Goal]
    samples: list[Sample]


def describe_machine() -> dict[str, str]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def values(samples: Sequence[Sample], target: str, scenario: str, figure: str) -> dict[int, float]:
    """The figure by round."""
    return {
        s.round: s.figures[figure]
        for s in samples
        if s.target == target and s.scenario == scenario and figure in s.figures
    }


def typical(samples: Sequence[Sample], target: str, scenario: str, figure: str) -> float | None:
    """Return the median over the rounds, or None if the figure was not measured."""
    found = values(samples, target, scenario, figure)
    return median(found.values()) if found else None


def paired(
    samples: Sequence[Sample], target: str, base: str, scenario: str, figure: str
) -> list[tuple[float, float]]:
    """(target, base) of every round that measured both."""
    ours, theirs = (values(samples, name, scenario, figure) for name in (target, base))
    return [(ours[number], theirs[number]) for number in sorted(ours.keys() & theirs.keys())]


def ratio(samples: Sequence[Sample], target: str, base: str, scenario: str, figure: str) -> float | None:
    """Median over the rounds of target / base."""
    pairs = [(a, b) for a, b in paired(samples, target, base, scenario, figure) if b > 0]
    return median(a / b for a, b in pairs) if pairs else None


def added(samples: Sequence[Sample], target: str, base: str, scenario: str, figure: str) -> float | None:
    """Median over the rounds of target - base."""
    pairs = paired(samples, target, base, scenario, figure)
    return median(a - b for a, b in pairs) if pairs else None


def judge(samples: Sequence[Sample], gateway: str, footprint: Footprint) -> list[Goal]:
    """Check the project's goals for the cost of the gateway."""
    missing = float("inf")  # a goal without a measurement is missed
    request = ratio(samples, gateway, FLOOR, "32 connections", "cpu_us_request")
    chunk = ratio(samples, gateway, FLOOR, "100 streams x 50/s", "cpu_us_chunk")
    p50 = added(samples, gateway, DIRECT, "1 connection", "p50_ms")
    one_way = typical(samples, gateway, "100 streams x 50/s", "one_way_p99_ms")
    bad = sum(s.figures.get("bad", 0) for s in samples if s.target == gateway)
    goals = {
        "CPU a request, of the floor's": (request, 2.0),
        "CPU a chunk, of the floor's": (chunk, 1.3),
        "added p50 over direct, one connection, ms": (p50, 0.4),
        "one-way p99 of a chunk, 100 streams, ms": (one_way, 4.0),
        "memory, MiB": (max(footprint.start_mib, footprint.end_mib), 60.0),
        "start to first answer, s": (footprint.start_s, 1.0),
        "bad answers": (bad, 0),
    }
    return [
        Goal(name=name, value=missing if value is None else round(value, 3), limit=limit)
        for name, (value, limit) in goals.items()
    ]


def number(value: float | None, decimals: int, *, suffix: str = "") -> str:
    return "-" if value is None else f"{value:,.{decimals}f}{suffix}"


def figures_table(results: Results) -> Table:
    targets = list(dict.fromkeys(s.target for s in results.samples))
    against = len(targets) > 1 and results.gateway in targets
    table = Table(
        title=f"Medians of {results.rounds} rounds; ratios are medians of the rounds' ratios",
        title_justify="left",
    )
    table.add_column("load")
    table.add_column("figure")
    for target in targets:
        table.add_column(target, justify="right")
    if against:
        table.add_column("of the floor", justify="right")
    for scenario in dict.fromkeys(s.scenario for s in results.samples):
        table.add_section()
        named = scenario
        for figure, (label, decimals) in FIGURES.items():
            cells = [typical(results.samples, target, scenario, figure) for target in targets]
            if all(cell is None for cell in cells):
                continue
            row = [named, label, *(number(cell, decimals) for cell in cells)]
            if against:
                row.append(
                    number(ratio(results.samples, results.gateway, FLOOR, scenario, figure), 2, suffix=" x")
                )
            table.add_row(*row)
            named = ""
    return table


def footprint_table(results: Results) -> Table:
    table = Table(title="Footprint", title_justify="left")
    for column in ("", "start s", "MiB after the first answer", "MiB after all load"):
        table.add_column(column, justify="right" if column else "left")
    for name, footprint in results.footprints.items():
        row = (number(footprint.start_s, 2), number(footprint.start_mib, 1), number(footprint.end_mib, 1))
        table.add_row(name, *row)
    return table


def goals_table(results: Results) -> Table:
    table = Table(title=f"Goals: {results.gateway}", title_justify="left")
    for column in ("goal", "at most", "measured", ""):
        table.add_column(column, justify="left" if column in {"goal", ""} else "right")
    for goal in results.goals:
        table.add_row(goal.name, f"{goal.limit:g}", f"{goal.value:g}", "met" if goal.met else "MISSED")
    return table


def show(results: Results) -> None:
    """Print everything, for a person."""
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    console.print(figures_table(results), footprint_table(results), goals_table(results), sep="\n")
    console.print(
        "Machine: " + ", ".join(f"{name} {value}" for name, value in results.machine.items()), soft_wrap=True
    )
    console.print(f"Others used {results.foreign_load:.0%} of the two cores during the run.", soft_wrap=True)
    if results.foreign_load > 0.05:
        console.print(
            "More than 5 %: times in ms are not to be trusted, ratios only roughly. Run again on a quiet machine.",
            soft_wrap=True,
        )
