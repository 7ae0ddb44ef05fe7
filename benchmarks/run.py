"""Measures the cost of the gateway, compared with a direct connection to the engine.

One run measures three targets in turn, round after round, with the same load from the same core:

  direct    the mock engine itself, as a client would use it without a gateway
  floor     floor.py: the least that a Python gateway can do
  tidegate  `tidegate serve --config benchmarks/rig.yaml`, every stage switched on; or --gateway

The target runs alone on one core; engine and load share another. Every prompt differs, so no cache can answer. The
table gives CPU time per request and per chunk (of the target's whole process tree), rates, latencies, memory, start
time, and their ratios to the floor. The exit status is 0 if every goal is met, 1 if one is missed, 2 if the run failed.

  python benchmarks/run.py                    about 3 minutes
  python benchmarks/run.py --quick            about 40 seconds: the three loads that the goals speak of, short
  python benchmarks/run.py --json out.json    every sample, for later
  python benchmarks/run.py --gateway 'nginx -c /tmp/n.conf -g "daemon off;"' --url http://127.0.0.1:8080/v1/chat/completions
  python benchmarks/run.py --before DIR       two trees in turn, 12 rounds: see alternate.py
  python benchmarks/run.py --rails            without and with the profile `rules` in turn: see alternate.py

A gateway under measurement must pass the model names m-d0, m-d50, m-n100-g0 and m-n100-g20 on to the engine at
http://127.0.0.1:18730/v1, or at least leave the prompt alone, which names them too. Ports 18730 and 18732, and 8080
for tidegate, must be free. Needs gcc. Linux only: it reads /proc.
"""

import argparse
import resource
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import alternate
import msgspec
from report import DIRECT, FLOOR, Footprint, Results, Sample, describe_machine, judge, show
from rig import (
    ENGINE_URL,
    FLOOR_URL,
    HERE,
    KEY_HEADER,
    Bench,
    Cores,
    Requests,
    RigError,
    Server,
    Streams,
    build,
    machine_busy_seconds,
)

TIDEGATE_URL = "http://127.0.0.1:8080/v1/chat/completions"
TIDEGATE = [str(Path(sys.executable).with_name("tidegate")), "serve", "--config", str(HERE / "rig.yaml")]
FLOOR_COMMAND = [
    *(sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), "--host", "127.0.0.1", "--port", "18732"),
    *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning", "floor:app"),
]
CHUNKS_A_STREAM = 102  # of the burst: 100 with text, the finish reason, [DONE]
STARTS = 3  # how often the start is measured, when it is short
SHORT_START_S = 3.0


@dataclass(frozen=True)
class Plan:
    """The loads, their duration and the number of rounds."""

    rounds: int
    every_round: dict[str, Requests | Streams]
    once: dict[str, Requests | Streams]

    @staticmethod
    def make(*, quick: bool, rounds: int | None) -> "Plan":
        seconds, stream_seconds = (1.0, 4.0) if quick else (2.0, 6.0)
        every_round: dict[str, Requests | Streams] = {
            "1 connection": Requests("m-d0", 1, seconds),
            "32 connections": Requests("m-d0", 32, seconds),
            "100 streams x 50/s": Streams(100, stream_seconds),
        }
        once: dict[str, Requests | Streams] = {
            "128 connections": Requests("m-d0", 128, seconds),
            "256 connections": Requests("m-d0", 256, seconds),
            "128 connections, engine takes 50 ms": Requests("m-d50", 128, seconds),
            "32 connections, 100 chunks at once": Requests("m-n100-g0", 32, seconds, stream=True),
            "20 streams x 50/s": Streams(20, stream_seconds),
        }
        return Plan(rounds or (2 if quick else 5), every_round, {} if quick else once)


class Run:
    """The servers of one run and the samples taken so far."""

    def __init__(self, gateway: Server, command: list[str], *, wait_s: float) -> None:
        self.cores = Cores.choose()
        self.engine = Server(DIRECT, ENGINE_URL)
        self.floor = Server(FLOOR, FLOOR_URL)
        self.gateway = gateway
        self.samples: list[Sample] = []
        self._command = command
        self._wait_s = wait_s
        self._begun = time.monotonic()

    def note(self, text: str) -> None:
        print(f"{time.monotonic() - self._begun:6.1f} s  {text}", file=sys.stderr, flush=True)

    def measure(self, plan: Plan) -> Results:
        """Run all measurements. Raises RigError if a server does not start or a load fails."""
        if self.cores.server == self.cores.load:
            self.note(
                "one core only: target, engine and load share it, so rates and latencies say little; CPU time still does"
            )
        bench = Bench(self.cores)
        try:
            self.engine.start(
                [str(build("mock_engine")), str(self.engine.port)], core=self.cores.load, wait_s=5
            )
            start = self._start_gateway()
            self.floor.start(FLOOR_COMMAND, core=self.cores.server, wait_s=20)
            floor = Footprint(start_s=self.floor.start_s, start_mib=self.floor.memory_mib())
            foreign_load = self._foreign_load(lambda: self._rounds(bench, plan))
            floor = msgspec.structs.replace(floor, end_mib=self.floor.memory_mib())
            self.floor.stop()  # before reading the gateway's memory: it would share the interpreter's pages
            start = msgspec.structs.replace(start, end_mib=self.gateway.memory_mib())
        finally:
            for server in (self.gateway, self.floor, self.engine):
                server.stop()
        return Results(
            gateway=self.gateway.name,
            machine=describe_machine(),
            rounds=plan.rounds,
            foreign_load=round(foreign_load, 3),
            footprints={FLOOR: floor, self.gateway.name: start},
            goals=judge(self.samples, self.gateway.name, start),
            samples=self.samples,
        )

    def _start_gateway(self) -> Footprint:
        """Start the gateway a few times: the first start of a fresh clone also compiles its bytecode."""
        starts: list[float] = []
        while True:
            self.gateway.start(self._command, core=self.cores.server, wait_s=self._wait_s)
            starts.append(self.gateway.start_s)
            self.note(f"{self.gateway.name} answers after {self.gateway.start_s:.2f} s")
            if len(starts) == STARTS or self.gateway.start_s > SHORT_START_S:
                break
            self.gateway.stop()
        return Footprint(start_s=sorted(starts)[len(starts) // 2], start_mib=self.gateway.memory_mib())

    def _rounds(self, bench: Bench, plan: Plan) -> None:
        self.note("warming up")
        for server in (self.floor, self.gateway):
            bench.requests(server, Requests("m-d0", 8, 1))
        for number in range(plan.rounds):
            # The order changes from round to round, so that a drift of the machine favours no target.
            pair = [self.floor, self.gateway] if number % 2 == 0 else [self.gateway, self.floor]
            for scenario, load in (plan.every_round | (plan.once if number == 0 else {})).items():
                for server in (self.engine, *pair):
                    self._sample(bench, server, scenario, load, number)

    def _sample(
        self, bench: Bench, server: Server, scenario: str, load: Requests | Streams, number: int
    ) -> None:
        if isinstance(load, Requests):
            report, cpu_s = bench.requests(server, load)
            chunks = report.n * CHUNKS_A_STREAM if load.stream else 0
            figures = {"rps": report.rps, "p50_ms": report.p50_ms, "p99_ms": report.p99_ms, "bad": report.bad}
            requests = report.n
        else:
            report, cpu_s = bench.streams(server, load)
            chunks, requests = report.chunks, 0
            figures = {
                "chunks_s": report.chunks_s,
                "ttft_p50_ms": report.ttft_p50_ms,
                "one_way_p50_ms": report.one_way_p50_ms,
                "one_way_p99_ms": report.one_way_p99_ms,
                "bad": report.bad,
            }
            if report.first_problem:
                self.note(f"{server.name}: {report.first_problem}")
        if server is not self.engine and (chunks or requests):
            unit = "chunk" if chunks else "request"
            figures[f"cpu_us_{unit}"] = round(cpu_s * 1e6 / (chunks or requests), 2)
        self.samples.append(Sample(round=number + 1, target=server.name, scenario=scenario, figures=figures))
        shown = ", ".join(f"{name} {value:g}" for name, value in figures.items())
        self.note(f"round {number + 1}  {scenario:36}  {server.name:10}  {shown}")

    def _foreign_load(self, work: Callable[[], None]) -> float:
        """Do the work, and return the share of the bench's cores that other processes used meanwhile."""
        servers = (self.engine, self.floor, self.gateway)

        def own_s() -> float:
            usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
            return sum(u.ru_utime + u.ru_stime for u in usage) + sum(server.cpu_s() for server in servers)

        busy, own, began = machine_busy_seconds(self.cores), own_s(), time.monotonic()
        work()
        foreign = (machine_busy_seconds(self.cores) - busy) - (own_s() - own)
        cores = len({self.cores.server, self.cores.load})
        return max(0.0, foreign / (time.monotonic() - began) / cores)


def parse_arguments() -> argparse.Namespace:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--quick", action="store_true", help="2 short rounds of the three main loads")
    parser.add_argument("--rounds", type=int, metavar="N", help="how many rounds (5; with --quick 2)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write every sample there")
    parser.add_argument("--gateway", metavar="COMMAND", help="measure what this starts instead of tidegate")
    parser.add_argument("--name", default="gateway", help="what to call it in the table (gateway)")
    parser.add_argument(
        "--url", help="its chat completions, http://127.0.0.1:PORT/PATH; required with --gateway"
    )
    parser.add_argument(
        "--header", action="append", default=[], metavar="'NAME: VALUE'", help="sent to it; repeatable"
    )
    parser.add_argument(
        "--wait", type=float, default=60, metavar="S", help="how long it may take to start (60 s)"
    )
    options = parser.parse_args()
    if bool(options.gateway) != bool(options.url):
        parser.error("--gateway and --url belong together")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def main() -> int:
    if any(word.partition("=")[0] in ("--before", "--limits", "--rails") for word in sys.argv[1:]):
        return alternate.main()  # two gateways in turn: other options, other figures
    options = parse_arguments()
    headers = dict(header.split(": ", 1) for header in options.header)
    if options.gateway:
        gateway, command = Server(options.name, options.url, headers=headers), shlex.split(options.gateway)
    else:
        gateway, command = Server("tidegate", TIDEGATE_URL, headers=KEY_HEADER | headers), TIDEGATE
    try:
        results = Run(gateway, command, wait_s=options.wait).measure(
            Plan.make(quick=options.quick, rounds=options.rounds)
        )
    except RigError as error:
        print(f"the run failed: {error}", file=sys.stderr)
        return 2
    show(results)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    return 0 if all(goal.met for goal in results.goals) else 1


if __name__ == "__main__":
    sys.exit(main())
