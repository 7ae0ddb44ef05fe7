"""Counts the instructions and system calls of a request and of a streamed chunk. Other work on the machine has no effect.

callgrind counts the instructions outside of the kernel that the floor and the gateway execute for the same load; strace
counts their system calls. The load has a fixed size and runs in lockstep on one connection: the engine sends a chunk when
the client has received the one before, so every run has the same reads and writes. Counting begins after a warm-up. The
count of a small load is subtracted from that of a large one, which cancels start, connection and end.

  make bench-instructions                              floor and this tree, about 3 minutes on two cores
  make bench-instructions ARGS="--quick"               a fifth of the load
  make bench-instructions ARGS="--src ../other/src"    another tree
  make bench-instructions ARGS="--before ../other"     that tree and this one, and the ratio after / before
  make bench-instructions ARGS="--limits"              this tree without and with a key and limits at five levels
  make bench-instructions ARGS="--several"             this tree with one and with two deployments and prefix affinity
  make bench-instructions ARGS="--rails"               this tree without and with the profile `rules`

The exit status is 0 if everything was counted and all bounds hold: with --before, every ratio is at most 1.03; with
--rails, a request costs at most 1.1 floors more, and a chunk 0.3. It is 1 if one does not hold, and 2 if the run failed.
Needs gcc and valgrind, and strace for the counts of system calls. Linux only.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from report import describe_machine, number
from rich.console import Console
from rich.table import Table
from rig import BUILD, HERE, LoadReport, RigError, build
from sse_load import StreamReport
from trees import (
    AFTER,
    BEFORE,
    FLOOR,
    LIMITED,
    OPEN,
    RAILED,
    RAILS_BOUNDS,
    RAILS_PROMPT_CHARS,
    SEVERAL,
    SOURCE,
    Engine,
    Target,
    check_source,
    floor,
    gateway,
    source_of,
)

BOUND = 1.03  # after / before, of instructions: more is a change in cost
REQUESTS, CHUNKS = 2000, 20_000
SMALL_REQUESTS, SMALL_CHUNKS = 100, 500  # what is subtracted; chunks come in streams of 100
TRACED_REQUESTS, TRACED_CHUNKS = 500, 5000  # system calls hardly vary
START_SECONDS = 180  # valgrind takes its time
REQUEST, CHUNK = "request", "chunk"
SYSTEM_CALL = re.compile(r"(?:\d+ +)?(\w+)\(")  # `[pid] name(...`, not `<... name resumed>`


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of one unit, a request or a chunk, for one target."""

    target: str
    unit: str
    instructions: float
    halves: tuple[float, float]  # the same from the first and the second half of the load
    idle_per_s: float  # instructions a second without load; subtracted for the time that the load took
    system_calls: float | None = None
    by_name: dict[str, float] = {}

    @property
    def spread(self) -> float:
        """Return the difference between the halves, as a share."""
        return abs(self.halves[0] - self.halves[1]) / self.instructions


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison of after with before.

    `added` is after - before, as a share of the floor. If `bound_added` is given, it is what counts.
    """

    unit: str
    ratio: float
    bound: float
    added: float
    bound_added: float | None
    system_calls_ratio: float | None

    @property
    def holds(self) -> bool:
        if self.bound_added is not None:
            return self.added <= self.bound_added
        return self.ratio <= self.bound

    @property
    def judged(self) -> str:
        bound = f"{self.bound} x" if self.bound_added is None else f"+{self.bound_added} x the floor"
        return f"the bound {bound} {'holds' if self.holds else 'DOES NOT HOLD'}"


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as `--json` writes it."""

    machine: dict[str, str]
    valgrind: str
    requests: int
    chunks: int
    counts: list[Count]
    verdicts: list[Verdict]


@dataclass(frozen=True)
class Plan:
    """The size of the load."""

    requests: int
    chunks: int

    @staticmethod
    def make(*, quick: bool) -> "Plan":
        return Plan(REQUESTS // 5, CHUNKS // 5) if quick else Plan(REQUESTS, CHUNKS)


# ---- the load ----


def ask(target: Target, count: int) -> None:
    """Send `count` requests, one after the other. Raises RigError for a bad answer."""
    command = [str(build("http_load")), "--model", "m-d0", "--connections", "1", "--requests", str(count)]
    report = msgspec.json.decode(run_load(target, command), type=LoadReport)
    if report.bad or report.n != count:
        raise RigError(f"{target.server.name}: {report.n} of {count} answers, {report.bad} bad")


def stream(target: Target, engine: Engine, count: int) -> None:
    """Read `count` chunks in streams of 100, in lockstep. Raises RigError if one is missing."""
    command = [sys.executable, str(HERE / "sse_load.py"), "--model", "m-n100-l1", "--streams", "1"]
    command += ["--chunks", str(count), "--ack-port", str(engine.port), "--seconds", "600"]
    report = msgspec.json.decode(run_load(target, command), type=StreamReport)
    if report.bad or report.chunks != count:
        raise RigError(f"{target.server.name}: {report.chunks} of {count} chunks: {report.first_problem}")


def run_load(target: Target, command: list[str]) -> bytes:
    command = [*command, "--port", str(target.server.port), "--prompt-chars", str(target.prompt_chars)]
    for name, value in target.server.headers.items():
        command += ["--header", f"{name}: {value}"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        name, words = target.server.name, done.stderr.decode(errors="replace")[-500:]
        raise RigError(f"the load on {name} failed: {words}")
    return done.stdout


def loads(target: Target, engine: Engine) -> dict[str, Callable[[int], None]]:
    return {
        REQUEST: lambda count: ask(target, count),
        CHUNK: lambda count: stream(target, engine, count),
    }


def settle(target: Target) -> None:
    """Wait, for at most 10 s, until the server is idle: until it uses less than 10 ms of CPU time in 0.3 s."""
    for _ in range(33):
        before = target.server.cpu_s()
        time.sleep(0.3)
        if target.server.cpu_s() - before < 0.01:
            return


# ---- instructions ----


class Callgrind:
    """A server under callgrind, which counts only between `begin` and the end."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._out = BUILD / f"callgrind.{target.server.name}"
        self._dumps = 0

    def start(self, core: int) -> None:
        for old in BUILD.glob(f"{self._out.name}*"):
            old.unlink()
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={self._out}"]
        wrapped = [*command, *self._target.command]
        self._target.server.start(wrapped, core=core, wait_s=START_SECONDS, env=self._target.env)

    def begin(self) -> None:
        self._tell("instrumentation on")

    def end(self) -> None:
        self._tell("instrumentation off")

    def take(self) -> int:
        """Instructions since the last call. Also leaves a dump in .build, for callgrind_annotate."""
        self._dumps += 1
        self._tell("dump", f"{self._dumps}")
        dump = self._out.with_name(f"{self._out.name}.{self._dumps}")
        found = re.search(r"^totals: (\d+)", dump.read_text(), re.MULTILINE)
        if not found:
            raise RigError(f"{dump.name} gives no total")
        return int(found[1])

    def _tell(self, *words: str) -> None:
        command = ["vgdb", f"--pid={self._target.server.pid}", *" ".join(words).split(" ")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RigError(f"valgrind does not answer vgdb: {done.stderr[-300:]}")


def count_instructions(target: Target, engine: Engine, plan: Plan, core: int) -> list[Count]:
    """Both units on one server. Raises RigError."""
    callgrind = Callgrind(target)
    found: list[Count] = []
    try:
        callgrind.start(core)
        todo = loads(target, engine)
        for unit in (REQUEST, CHUNK):
            todo[unit](SMALL_REQUESTS)  # paths not taken yet, freelists, the adaptive interpreter
        callgrind.begin()
        for unit, small, large in (
            (REQUEST, SMALL_REQUESTS, plan.requests),
            (CHUNK, SMALL_CHUNKS, plan.chunks),
        ):
            found.append(measure(callgrind, target, unit, todo[unit], small=small, large=large))
        callgrind.end()
    finally:
        target.server.stop()
    return found


def measure(
    callgrind: Callgrind, target: Target, unit: str, load: Callable[[int], None], *, small: int, large: int
) -> Count:
    """Run a small load, then twice the small one plus half of the large: (b - a) / (large / 2), for each half."""

    def spent(work: Callable[[], None]) -> tuple[int, float]:
        settle(target)
        callgrind.take()
        began = time.monotonic()
        work()
        settle(target)
        seconds = time.monotonic() - began
        return callgrind.take(), seconds

    idle, seconds = spent(lambda: time.sleep(3))
    idle_per_s = idle / seconds

    def net(count: int) -> float:
        total, seconds = spent(lambda: load(count))
        return total - idle_per_s * seconds

    base = net(small)
    first, second = ((net(small + large // 2) - base) / (large // 2) for _ in range(2))
    return Count(
        target=target.server.name,
        unit=unit,
        instructions=round((first + second) / 2, 1),
        halves=(round(first, 1), round(second, 1)),
        idle_per_s=round(idle_per_s),
    )


# ---- system calls ----


class Strace:
    """A server under strace. Its system calls are read from the growing log."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._log = BUILD / f"strace.{target.server.name}"
        self._read = 0

    def start(self, core: int) -> None:
        self._log.unlink(missing_ok=True)
        command = ["strace", "-f", "-qq", "-s", "0", "-e", "signal=none", "-o", str(self._log)]
        wrapped = [*command, *self._target.command]
        self._target.server.start(wrapped, core=core, wait_s=START_SECONDS, env=self._target.env)

    def take(self) -> Counter[str]:
        """System calls by name since the last call."""
        with self._log.open(errors="replace") as log:
            log.seek(self._read)
            text = log.read()
            self._read = log.tell()
        return Counter(found[1] for line in text.splitlines() if (found := SYSTEM_CALL.match(line)))


def count_system_calls(target: Target, engine: Engine, core: int) -> dict[str, dict[str, float]]:
    """Count system calls by unit and name. Raises RigError."""
    strace = Strace(target)
    found: dict[str, dict[str, float]] = {}
    try:
        strace.start(core)
        todo = loads(target, engine)
        for unit, small, large in (
            (REQUEST, SMALL_REQUESTS, TRACED_REQUESTS),
            (CHUNK, SMALL_CHUNKS, TRACED_CHUNKS),
        ):
            taken: list[Counter[str]] = []
            for count in (small, small, small + large):  # the first warms up
                settle(target)
                strace.take()
                todo[unit](count)
                settle(target)
                taken.append(strace.take())
            more = {name: (taken[2][name] - taken[1][name]) / large for name in taken[2]}
            found[unit] = {
                name: round(value, 3) for name, value in sorted(more.items()) if abs(value) >= 0.005
            }
    finally:
        target.server.stop()
    return found


# ---- the run ----


class Run:
    """Counts every target, as many at once as there are cores: running together costs time, but no instructions."""

    def __init__(self, plan: Plan, *, configs: dict[str, str], prompt_chars: int = 0) -> None:
        """`configs` has the configurations of targets by name; the others have `open.yaml`."""
        self._plan = plan
        self._configs = configs
        self._prompt_chars = prompt_chars
        self._cores = sorted(os.sched_getaffinity(0))
        self._begun = time.monotonic()

    def note(self, text: str) -> None:
        print(f"{time.monotonic() - self._begun:6.1f} s  {text}", file=sys.stderr, flush=True)

    def count(self, sources: dict[str, Path]) -> list[Count]:
        """Count the floor and each tree. Raises RigError."""
        names = [FLOOR, *sources]
        with ThreadPoolExecutor(len(self._cores)) as pool:
            parts = pool.map(lambda name: self._target(name, sources), names)
            return [count for part in parts for count in part]

    def _target(self, name: str, sources: dict[str, Path]) -> list[Count]:
        engine = Engine(f"engine-{name}")
        core = self._cores[[FLOOR, *sources].index(name) % len(self._cores)]

        def made() -> Target:
            if name == FLOOR:
                target = floor(engine.port)
            else:
                config = self._configs.get(name, OPEN)
                target = gateway(name, sources[name], engine.port, config=config)
            return replace(target, prompt_chars=self._prompt_chars)

        try:
            engine.start(core=core)
            traced = count_system_calls(made(), engine, core) if shutil.which("strace") else {}
            self.note(f"{name}: system calls counted" if traced else f"{name}: no strace, no system calls")
            counts = count_instructions(made(), engine, self._plan, core)
        finally:
            engine.server.stop()
        for count in counts:
            self.note(f"{name}: {count.instructions:,.0f} instructions a {count.unit}")
        return [with_system_calls(count, traced.get(count.unit)) for count in counts]


def with_system_calls(count: Count, by_name: dict[str, float] | None) -> Count:
    if by_name is None:
        return count
    return msgspec.structs.replace(count, system_calls=round(sum(by_name.values()), 3), by_name=by_name)


def judge(counts: list[Count], bounds_added: dict[str, float]) -> list[Verdict]:
    found = {(count.target, count.unit): count for count in counts}
    verdicts: list[Verdict] = []
    for unit in (REQUEST, CHUNK):
        base, before, after = (found[name, unit] for name in (FLOOR, BEFORE, AFTER))
        calls = None
        if before.system_calls and after.system_calls is not None:
            calls = round(after.system_calls / before.system_calls, 4)
        ratio = round(after.instructions / before.instructions, 4)
        added = round((after.instructions - before.instructions) / base.instructions, 4)
        verdicts.append(
            Verdict(
                unit=unit,
                ratio=ratio,
                bound=BOUND,
                added=added,
                bound_added=bounds_added.get(unit),
                system_calls_ratio=calls,
            )
        )
    return verdicts


# ---- showing ----


def show(results: Counts) -> None:
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    title = f"{results.requests:,} requests and {results.chunks:,} chunks, one connection, in lockstep"
    table = Table(title=title, title_justify="left")
    table.add_column("unit")
    table.add_column("target")
    for column in ("instructions", "of the floor", "halves apart", "system calls", "of the floor"):
        table.add_column(column, justify="right")
    for unit in (REQUEST, CHUNK):
        table.add_section()
        rows = [count for count in results.counts if count.unit == unit]
        base = next(count for count in rows if count.target == FLOOR)
        for count in rows:
            calls = base.system_calls and count.system_calls and count.system_calls / base.system_calls
            table.add_row(
                f"a {unit}",
                count.target,
                number(count.instructions, 0),
                number(count.instructions / base.instructions, 3, suffix=" x"),
                f"{count.spread:.2%}",
                number(count.system_calls, 2),
                number(calls, 2, suffix=" x"),
            )
    console.print(table)
    for count in results.counts:
        if count.by_name:
            names = ", ".join(f"{name} {value:.2f}" for name, value in count.by_name.items())
            console.print(f"System calls a {count.unit}, {count.target}: {names}", soft_wrap=True)
    for verdict in results.verdicts:
        calls = number(verdict.system_calls_ratio, 3, suffix=" x")
        console.print(
            f"after / before, instructions a {verdict.unit}: {verdict.ratio:.4f} x, {verdict.added:+.4f} x the floor;"
            f" {verdict.judged}; system calls {calls}",
            soft_wrap=True,
        )


def parse_arguments() -> argparse.Namespace:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--src", type=Path, default=SOURCE, metavar="DIR", help="the tree to count (this)")
    parser.add_argument("--before", type=Path, metavar="DIR", help="count this tree as well, and compare")
    parser.add_argument(
        "--limits", action="store_true", help="count the tree without and with a key and limits, and compare"
    )
    parser.add_argument(
        "--several", action="store_true", help="count the tree with one and with two deployments, and compare"
    )
    parser.add_argument(
        "--rails",
        action="store_true",
        help="count the tree without and with the profile `rules`, and compare",
    )
    parser.add_argument("--quick", action="store_true", help="400 requests and 4,000 chunks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    if not shutil.which("valgrind") or not shutil.which("vgdb"):
        print("valgrind is not installed: on Debian and Ubuntu it is the package valgrind", file=sys.stderr)
        return 2
    if not shutil.which("strace"):
        print("strace is not installed, so system calls are not counted: the package strace", file=sys.stderr)
    plan = Plan.make(quick=options.quick)
    sources = {"tidegate": source_of(options.src)}
    if options.before or options.limits or options.several or options.rails:
        options.before = options.before or options.src
        sources = {BEFORE: source_of(options.before), AFTER: source_of(options.src)}
    configs: dict[str, str] = {}
    if options.rails:
        configs = {BEFORE: LIMITED, AFTER: RAILED}
    elif options.limits or options.several:
        configs = {AFTER: LIMITED if options.limits else SEVERAL}
    prompt_chars = RAILS_PROMPT_CHARS if options.rails else 0
    try:
        for source in sources.values():
            check_source(source)  # fail now, not after the floor has been counted
        for name in ("mock_engine", "http_load"):
            build(name)
        counts = Run(plan, configs=configs, prompt_chars=prompt_chars).count(sources)
    except RigError as error:
        print(f"the run failed: {error}", file=sys.stderr)
        return 2
    version = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    results = Counts(
        machine=describe_machine(),
        valgrind=version.stdout.strip(),
        requests=plan.requests,
        chunks=plan.chunks,
        counts=counts,
        verdicts=judge(counts, RAILS_BOUNDS if options.rails else {}) if options.before else [],
    )
    show(results)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    return 0 if all(verdict.holds for verdict in results.verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
