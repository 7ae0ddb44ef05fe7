"""Measures guard models behind Tidegate beside the same ones behind NeMo Guardrails with its engine IORails.

A guard model checks each prompt and each answer, so a request makes three calls, one after the other. The engines answer
after a fixed time, and what counts is the time over their sum, the floor. One round measures in turn, in an order that
changes from round to round:

  nemo      nemoguardrails[server] with IORails, uvloop and httptools, and without logging: its best case
  tidegate  `tidegate serve` with benchmarks/iorails/tidegate.yaml, which says the same
  race      the same with `race: true`, at 32 clients: the engine starts while the prompt is still checked
  chain     the three calls without a gateway: what no gateway can undercut

The gateways run on one core; engines and load share another. The latencies of the engines are

  short     the application's model 0.4 s, the guard model 0.05 s: floor 0.5 s
  upstream  4 s and 0.5 s, floor 5 s: those of NeMo's own benchmark
  none      0 s: requests a second at saturation

Every answer is checked, and the engines count their calls. Before the rounds, each gateway is shown to refuse what the
guard model calls unsafe, and with `upstream` also to answer 512 of 600 requests that come at once, and to refuse the
others: so the queues are alike. A round in which other processes used more than 5 % of the two cores is repeated.

  make bench-rails                                             everything, about 40 minutes
  make bench-rails ARGS="--quick"                              short latencies and saturation, one round, 2 minutes
  make bench-rails ARGS="--latencies short --clients all"      1, 2, 4, ... 256 clients
  make bench-rails ARGS="--json benchmarks/.build/rails.json"  every sample, for later
  make bench-rails ARGS="--nemo ../venv/bin/python"            another version of nemoguardrails

The exit status is 0 if every goal is met, 1 if one is missed, 2 if the run failed.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from report import describe_machine
from rig import Cores, RigError, machine_busy_seconds, pinned
from trees import SOURCE

from iorails.load import LoadReport
from iorails.report import (
    BURST,
    NONE,
    QUIET,
    SHORT,
    UPSTREAM,
    Burst,
    Measured,
    Results,
    Round,
    Sample,
    Scenario,
    judge,
    show,
)
from iorails.servers import CHAIN, HERE, NEMO, NEMO_PYTHON, RACE, TIDEGATE, Latencies, Servers, Setup, started

SETTINGS = {SHORT: Latencies(0.4, 0.05), UPSTREAM: Latencies(4, 0.5), NONE: Latencies(0, 0)}
CLIENTS = (1, 32, 256)
ALL_CLIENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SATURATING = 64  # clients of engines without latency
RACING = 32
MANY = 128  # clients with which a gateway may need several times the floor until its times are steady


def scenarios(options: argparse.Namespace, latencies: str) -> list[Scenario]:
    """The loads with these latencies of the engines."""
    floor_s = SETTINGS[latencies].floor_s
    clients = (SATURATING,) if latencies == NONE else options.clients
    found: list[Scenario] = []
    for number in clients:
        warm_up_s = max(1.0, floor_s * (4 if number >= MANY else 1.2))
        seconds = max(4.0, 3 * floor_s) if options.quick else max(8.0, 4 * floor_s)
        targets = [NEMO, TIDEGATE, CHAIN]
        if number == RACING and latencies != NONE:
            targets.insert(2, RACE)
        found.append(
            Scenario(
                latencies=latencies,
                clients=number,
                targets=targets,
                warm_up_s=round(warm_up_s, 1),
                seconds=options.seconds or seconds,
            )
        )
    return found


class Bench:
    """Runs the rounds of one setup."""

    def __init__(self, setup: Setup, *, rounds: int, most: int) -> None:
        self._setup = setup
        self._rounds, self._most = rounds, most
        self._cores = Cores.choose()
        self._begun = time.monotonic()
        self.bursts: dict[str, Burst] = {}

    def note(self, text: str) -> None:
        print(f"{time.monotonic() - self._begun:6.1f} s  {text}", file=sys.stderr, flush=True)

    def measure(self, latencies: str, loads: list[Scenario]) -> list[Measured]:
        """Raises RigError if a server does not start or does not guard, or if a load fails."""
        names = [name for name in (NEMO, TIDEGATE, RACE) if any(name in load.targets for load in loads)]
        setting = SETTINGS[latencies]
        with started(self._setup, setting, self._cores, names) as servers:
            self.note(f"latencies '{latencies}': {', '.join(names)} answer, and refuse what is unsafe")
            if latencies == UPSTREAM:
                for name in (NEMO, TIDEGATE):
                    self.bursts[name] = self._burst(servers, name)
            return [self._scenario(servers, load) for load in loads]

    def _burst(self, servers: Servers, name: str) -> Burst:
        """Send more requests at once than the queue has room for."""
        load = self._ask(
            servers, name, ["--clients", str(BURST.sent), "--warm-up-s", "0", "--seconds", "0.5"]
        )
        refused = load.bad.get("503", 0)
        burst = Burst(sent=load.sent, answered=load.sent - sum(load.bad.values()), refused=refused)
        self.note(f"burst of {burst.sent}  {name:8}  {burst.answered} answered, {refused} refused with 503")
        return burst

    def _scenario(self, servers: Servers, scenario: Scenario) -> Measured:
        measured = Measured(scenario=scenario, wanted=self._rounds, rounds=[])
        while not measured.enough and len(measured.rounds) < self._most:
            number = len(measured.rounds) + 1
            turn = self._round(servers, scenario, number)
            measured.rounds.append(turn)
            again = ": it does not count" if turn.foreign > QUIET else ""
            self.note(f"{scenario.title}  round {number}  others used {turn.foreign:.1%} of the cores{again}")
        return measured

    def _round(self, servers: Servers, scenario: Scenario, number: int) -> Round:
        at = number % len(
            scenario.targets
        )  # the order changes, so that a drift of the machine favours no target
        order = scenario.targets[at:] + scenario.targets[:at]
        busy, own, began = machine_busy_seconds(self._cores), own_s(servers), time.monotonic()
        samples = [self._load(servers, scenario, target) for target in order]
        foreign = (machine_busy_seconds(self._cores) - busy) - (own_s(servers) - own)
        cores = len({self._cores.server, self._cores.load})
        share = max(0.0, foreign / (time.monotonic() - began) / cores)
        return Round(number=number, foreign=round(share, 4), samples=samples)

    def _load(self, servers: Servers, scenario: Scenario, target: str) -> Sample:
        before = servers.counts()
        load = self._ask(
            servers,
            target,
            [
                *("--clients", str(scenario.clients), "--floor-s", str(servers.latencies.floor_s)),
                *("--warm-up-s", str(scenario.warm_up_s), "--seconds", str(scenario.seconds)),
            ],
        )
        sample = Sample(target=target, load=load, calls=servers.counts() - before)
        self.note(
            f"{scenario.title}  {target:8}  {load.n} answers, over the floor p50 {load.p50_ms:.2f} ms"
            f" p99 {load.p99_ms:.2f} ms, {load.rps:.1f}/s"
            + (f", CPU {sample.cpu_ms:.3f} ms a request" if target != CHAIN else "")
        )
        return sample

    def _ask(self, servers: Servers, target: str, options: list[str]) -> LoadReport:
        command = [sys.executable, "-m", "iorails.load", *options]
        if target != CHAIN:
            command += ["--pid", str(servers.gateways[target].pid)]
        with pinned(self._cores.load):
            done = subprocess.run([*command, *servers.urls(target)], capture_output=True, check=False)
        if done.returncode:
            raise RigError(f"the load on {target} failed: {done.stderr.decode(errors='replace')[-500:]}")
        return msgspec.json.decode(done.stdout, type=LoadReport)


def own_s(servers: Servers) -> float:
    """CPU seconds of the bench so far: its own, those of loads that have ended, and those of the servers."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage) + sum(server.cpu_s() for server in servers.running)


def versions(setup: Setup) -> dict[str, str]:
    """The version of NeMo Guardrails that is measured. Raises RigError if there is none."""
    code = "from importlib.metadata import version; print(version('nemoguardrails'))"
    done = subprocess.run([setup.nemo_python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RigError(f"{setup.nemo_python} has no nemoguardrails: {done.stderr[-300:]}")
    return {"nemoguardrails": done.stdout.strip()}


def numbers(text: str) -> tuple[int, ...]:
    found = ALL_CLIENTS if text == "all" else tuple(int(part) for part in text.split(","))
    if min(found) < 1:
        raise ValueError
    return found


def parse_arguments() -> argparse.Namespace:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="make bench-rails", description=__doc__, formatter_class=shape)
    parser.add_argument("--quick", action="store_true", help="one short round without `upstream`")
    parser.add_argument(
        "--latencies",
        metavar="LIST",
        help=f"some of {','.join(SETTINGS)}, with commas (all; with --quick {SHORT},{NONE})",
    )
    parser.add_argument("--clients", type=numbers, default=CLIENTS, metavar="LIST", help="(1,32,256), or all")
    parser.add_argument("--rounds", type=int, metavar="N", help="quiet rounds wanted (5; with --quick 1)")
    parser.add_argument("--most", type=int, metavar="N", help="rounds at the most (3 times as many)")
    parser.add_argument("--seconds", type=float, metavar="S", help="counted of each load (8, or 4 floors)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write every sample there")
    parser.add_argument("--nemo", type=Path, default=NEMO_PYTHON, metavar="PYTHON", help="of its environment")
    parser.add_argument("--src", type=Path, default=SOURCE, metavar="DIR", help="the tree of Tidegate (this)")
    parser.add_argument(
        "--config", type=Path, default=HERE / "tidegate.yaml", metavar="PATH", help="Tidegate's configuration"
    )
    options = parser.parse_args()
    chosen = (
        options.latencies.split(",") if options.latencies else [SHORT, NONE] if options.quick else [*SETTINGS]
    )
    if unknown := set(chosen) - set(SETTINGS):
        parser.error(f"--latencies has {', '.join(sorted(unknown))}: choose from {', '.join(SETTINGS)}")
    options.latencies = chosen
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.most = options.most or (1 if options.quick else 3 * options.rounds)
    if options.rounds < 1 or options.most < options.rounds:
        parser.error("--rounds must be at least 1, and --most at least as many")
    return options


def main() -> int:
    options = parse_arguments()
    # Not resolved: the Python of a virtual environment is a link, and outside of it finds no packages.
    setup = Setup(options.nemo.absolute(), options.src.resolve(), options.config.resolve())
    measured: list[Measured] = []
    try:
        setup.check()
        found = versions(setup)
        bench = Bench(setup, rounds=options.rounds, most=options.most)
        for latencies in options.latencies:
            measured += bench.measure(latencies, scenarios(options, latencies))
    except RigError as error:
        print(f"the run failed: {error}", file=sys.stderr)
        return 2
    results = Results(
        command=f"make bench-rails ARGS={' '.join(sys.argv[1:])!r}",
        machine=describe_machine() | {"load before": f"{os.getloadavg()[2]:.2f}"},
        versions=found,
        settings=SETTINGS,
        goals=judge(measured, bench.bursts),
        bursts=bench.bursts,
        measured=measured,
    )
    show(results)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    return 0 if all(goal.met for goal in results.goals) else 1


if __name__ == "__main__":
    sys.exit(main())
