"""Compares the CPU time of two trees, before and after a change, in alternating rounds, as shares of the round's floor.

Two trees of the gateway and the floor run beside each other on one core; engine and load share another. Every round
measures all three with 32 connections and with 100 streams, in a different order each time. The result is the median of
after / before over the rounds, each as a share of its round's floor, with the quartiles. Start and memory of both trees are
measured first, one gateway at a time.

  make bench ARGS="--before ../other --rounds 12"               about 6 minutes
  make bench ARGS="--limits"                                    what a key and limits at five levels add to this tree
  make bench ARGS="--rails"                                     what the profile `rules` adds to this tree
  python benchmarks/alternate.py --before ../other --src DIR    another tree than this one as `after`

With `--limits`, both gateways are of one tree. "before" has neither keys nor limits (open.yaml), and "after" has both
(rig.yaml). What counts then is the difference, as a share of the floor. With `--rails`, both have a key and limits, and
"after" has the profile `rules` as well (rig-rails.yaml). The prompts have 300 ASCII characters then.

The exit status is 0 if both bounds hold over at least 12 rounds and no answer was bad, 1 if not, and 2 if the run failed.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

import msgspec
from report import Footprint, Sample, describe_machine, number, paired
from rich.console import Console
from rich.table import Table
from rig import Bench, Cores, Requests, RigError, Streams
from trees import (
    AFTER,
    BEFORE,
    FLOOR,
    LIMITED,
    OPEN,
    RAILED,
    RAILS_BOUNDS,
    RAILS_PROMPT_CHARS,
    SOURCE,
    Engine,
    Target,
    floor,
    gateway,
    source_of,
)

BOUND = 1.06  # the median of after / before may not exceed it
ENOUGH_ROUNDS = 12  # fewer give no result on a shared machine
STARTS = 3  # of each tree; the median counts
REQUEST, CHUNK = "request", "chunk"
ADDED_BOUNDS = {
    REQUEST: 0.45,
    CHUNK: 0.05,
}  # what a key and limits at five levels may add, as shares of the floor
DELAYS = {
    REQUEST: {"p50_ms": "an answer, p50", "p99_ms": "an answer, p99"},
    CHUNK: {
        "ttft_p50_ms": "TTFT, p50",
        "ttft_p99_ms": "TTFT, p99",
        "one_way_p50_ms": "a chunk from engine to client, p50",
        "one_way_p99_ms": "a chunk from engine to client, p99",
    },
}  # the delays that are shown, in milliseconds


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """The ratio after / before over the rounds, both as shares of the floor.

    `added` is the median of after - before, as a share of the floor. If `bound_added` is given, it is what counts.
    """

    unit: str
    median: float
    added: float
    bound_added: float | None
    lowest: float
    quartiles: tuple[float, float]
    highest: float
    bound: float
    rounds: int

    @property
    def holds(self) -> bool:
        if self.bound_added is not None:
            return self.added <= self.bound_added
        return self.median <= self.bound

    @property
    def judged(self) -> str:
        bound = f"+{self.bound_added}" if self.bound_added is not None else f"{self.bound}"
        return f"{bound} {'holds' if self.holds else 'MISSED'}"


class Alternation(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as `--json` writes it."""

    machine: dict[str, str]
    rounds: int
    footprints: dict[str, Footprint]
    ratios: list[Ratio]
    bad: float
    samples: list[Sample]


class Run:
    """The servers of one run and the samples taken so far."""

    def __init__(
        self, sources: dict[str, Path], configs: dict[str, str], *, seconds: float, prompt_chars: int = 0
    ) -> None:
        self._cores = Cores.choose()
        self._bench = Bench(self._cores)
        self._engine = Engine()
        self._sources = sources
        self._configs = configs
        self._loads: dict[str, Requests | Streams] = {
            REQUEST: Requests("m-d0", 32, seconds, prompt_chars=prompt_chars),
            CHUNK: Streams(100, seconds * 2 + 2, prompt_chars=prompt_chars),
        }
        self._samples: list[Sample] = []
        self._begun = time.monotonic()

    def note(self, text: str) -> None:
        print(f"{time.monotonic() - self._begun:6.1f} s  {text}", file=sys.stderr, flush=True)

    def measure(self, rounds: int) -> tuple[dict[str, Footprint], list[Sample]]:
        """Raises RigError when a server does not start or a load fails."""
        targets = {
            name: gateway(name, source, self._engine.port, config=self._configs[name])
            for name, source in self._sources.items()
        }
        targets[FLOOR] = floor(self._engine.port)
        try:
            self._engine.start(core=self._cores.load)
            footprints = self._footprints([targets[name] for name in self._sources])
            for target in targets.values():
                self._start(target)
                self._bench.requests(target.server, Requests("m-d0", 8, 1))
            for turn in range(rounds):
                self._round(turn, list(targets.values()))
        finally:
            for target in targets.values():
                target.server.stop()
            self._engine.server.stop()
        return footprints, self._samples

    def _start(self, target: Target) -> None:
        target.server.start(target.command, core=self._cores.server, wait_s=60, env=target.env)

    def _footprints(self, targets: list[Target]) -> dict[str, Footprint]:
        """Measure start and memory, one gateway at a time: running together, they would share pages and seem smaller."""
        starts: dict[str, list[float]] = {target.server.name: [] for target in targets}
        memory: dict[str, tuple[float, float]] = {}
        for turn in range(STARTS + 1):  # the first compiles bytecode and is thrown away
            for target in targets:
                server = target.server
                self._start(target)
                if turn:
                    starts[server.name].append(server.start_s)
                if turn == STARTS:
                    first = server.memory_mib()
                    for load in self._loads.values():
                        self._apply(target, load)
                    memory[server.name] = (first, server.memory_mib())
                server.stop()
        return {
            name: Footprint(
                start_s=median(found),
                start_mib=round(memory[name][0], 1),
                end_mib=round(memory[name][1], 1),
            )
            for name, found in starts.items()
        }

    def _round(self, turn: int, targets: list[Target]) -> None:
        at = turn % len(targets)  # the order changes, so that a drift of the machine favours no target
        order = targets[at:] + targets[:at]
        if turn % 2:
            order.reverse()
        for unit, load in self._loads.items():
            for target in order:
                figures = self._apply(target, load)
                self._samples.append(
                    Sample(round=turn + 1, target=target.server.name, scenario=unit, figures=figures)
                )
                self.note(
                    f"round {turn + 1}  {target.server.name:7} {figures['cpu_us']:7.1f} CPU µs a {unit}"
                )

    def _apply(self, target: Target, load: Requests | Streams) -> dict[str, float]:
        if isinstance(load, Requests):
            report, cpu_s = self._bench.requests(target.server, load)
            count, unit = report.n, REQUEST
        else:
            report, cpu_s = self._bench.streams(target.server, load)
            count, unit = report.chunks, CHUNK
        delays = {name: getattr(report, name) for name in DELAYS[unit]}
        return {"cpu_us": round(cpu_s * 1e6 / max(1, count), 2), "bad": report.bad, **delays}


def compare(samples: Sequence[Sample], unit: str, bound_added: float | None) -> Ratio:
    """Return the ratios of the rounds. Each is relative to the floor of the same round, which cancels drift."""
    shares = [
        [ours / base for ours, base in paired(samples, name, FLOOR, unit, "cpu_us")]
        for name in (BEFORE, AFTER)
    ]
    found = sorted(after / before for before, after in zip(*shares, strict=True))
    low, _, high = quantiles(found, n=4, method="inclusive") if len(found) > 1 else found * 3
    return Ratio(
        unit=unit,
        median=round(median(found), 4),
        added=round(median(after - before for before, after in zip(*shares, strict=True)), 4),
        bound_added=bound_added,
        lowest=round(found[0], 4),
        quartiles=(round(low, 4), round(high, 4)),
        highest=round(found[-1], 4),
        bound=BOUND,
        rounds=len(found),
    )


def show(results: Alternation) -> None:
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    table = Table(title=f"CPU time, medians of {results.rounds} rounds", title_justify="left")
    table.add_column("unit")
    for column in (
        "floor µs",
        "before",
        "after",
        "after / before",
        "after - before",
        "quartiles",
        "lowest, highest",
        "bound",
    ):
        table.add_column(column, justify="right")
    for ratio in results.ratios:
        micros = [
            s.figures["cpu_us"] for s in results.samples if (s.target, s.scenario) == (FLOOR, ratio.unit)
        ]
        shares = [
            median(ours / base for ours, base in paired(results.samples, name, FLOOR, ratio.unit, "cpu_us"))
            for name in (BEFORE, AFTER)
        ]
        table.add_row(
            f"a {ratio.unit}",
            number(median(micros), 1),
            *(number(share, 3, suffix=" x") for share in shares),
            number(ratio.median, 3, suffix=" x"),
            f"{ratio.added:+.3f} x",
            f"{ratio.quartiles[0]:.3f}-{ratio.quartiles[1]:.3f}",
            f"{ratio.lowest:.3f}-{ratio.highest:.3f}",
            ratio.judged,
        )
    console.print(table)
    for name, footprint in results.footprints.items():
        console.print(
            f"{name}: start {footprint.start_s:.3f} s, {footprint.start_mib:.1f} MiB after the first answer, "
            f"{footprint.end_mib:.1f} MiB after load",
            soft_wrap=True,
        )
    for unit, names in DELAYS.items():
        for name, words in names.items():
            before, after = (
                median(s.figures[name] for s in results.samples if (s.target, s.scenario) == (target, unit))
                for target in (BEFORE, AFTER)
            )
            console.print(f"{words}: before {before:.3f} ms, after {after:.3f} ms ({after - before:+.3f})")
    if results.bad:
        console.print(f"{results.bad:g} bad answers")
    if results.rounds < ENOUGH_ROUNDS:
        console.print(f"{results.rounds} rounds are too few for a verdict: at least {ENOUGH_ROUNDS}")


def parse_arguments() -> argparse.Namespace:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--before", type=Path, metavar="DIR", help="the tree to compare with")
    parser.add_argument(
        "--limits", action="store_true", help="compare with the same tree without keys and limits"
    )
    parser.add_argument(
        "--rails", action="store_true", help="compare with the same tree without the profile `rules`"
    )
    parser.add_argument("--src", type=Path, default=SOURCE, metavar="DIR", help="the tree after (this)")
    parser.add_argument("--rounds", type=int, default=ENOUGH_ROUNDS, metavar="N", help="how many (12)")
    parser.add_argument(
        "--quick", action="store_true", help="1 s in place of 2 for 32 connections, 4 of 6 for streams"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write every sample there")
    options = parser.parse_args()
    if [bool(options.before), options.limits, options.rails].count(True) != 1:
        parser.error("give one of --before, --limits and --rails")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def main() -> int:
    options = parse_arguments()
    sources = {BEFORE: source_of(options.before or options.src), AFTER: source_of(options.src)}
    configs = {BEFORE: OPEN, AFTER: LIMITED if options.limits else OPEN}
    bounds = ADDED_BOUNDS if options.limits else {}
    if options.rails:
        configs, bounds = {BEFORE: LIMITED, AFTER: RAILED}, RAILS_BOUNDS
    prompt_chars = RAILS_PROMPT_CHARS if options.rails else 0
    try:
        run = Run(sources, configs, seconds=1 if options.quick else 2, prompt_chars=prompt_chars)
        footprints, samples = run.measure(options.rounds)
    except RigError as error:
        print(f"the run failed: {error}", file=sys.stderr)
        return 2
    results = Alternation(
        machine=describe_machine(),
        rounds=options.rounds,
        footprints=footprints,
        ratios=[compare(samples, unit, bounds.get(unit)) for unit in (REQUEST, CHUNK)],
        bad=sum(sample.figures["bad"] for sample in samples),
        samples=samples,
    )
    show(results)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    held = all(ratio.holds for ratio in results.ratios) and results.rounds >= ENOUGH_ROUNDS
    return 0 if held and not results.bad else 1


if __name__ == "__main__":
    sys.exit(main())
