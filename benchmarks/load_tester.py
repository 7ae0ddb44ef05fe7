"""Checks the figures of `tidegate bench`, by measuring a mock engine whose timing is known, in three ways.

  rate     how many requests per second it can send from one core, with the mock on another
  truth    TTFT 50 ms, ITL 5 ms, --rate requests per second: compared with the mock's own timing, and with AIPerf if
           --aiperf names its command; both in turn, --rounds times
  stall    the mock is stopped for 1 s of every 10 s (SIGSTOP): a closed loop hides it, the delay from schedule does not

  python benchmarks/load_tester.py
  python benchmarks/load_tester.py --aiperf /path/to/aiperf --tokenizer /path/to/a/tokenizer

AIPerf needs a separate environment (1.2 GB). The tokenizer is any folder that transformers can read; it only counts.
Port 18730 must be free. Linux only; needs gcc.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from report import describe_machine
from rig import ENGINE_URL, Cores, Server, build

from tidegate.ops.load.result import Result, read

TIDEGATE = str(Path(sys.executable).with_name("tidegate"))
ADDRESS = ENGINE_URL.split("/v1")[0]
TRUE_MODEL = "m-n32-g5-d50"
FIGURES = (("time_to_first_token", "p50"), ("time_to_first_token", "p99"), ("inter_token_latency", "avg"))
LATE = ("time_to_first_token_from_schedule", "p99")


def bench(folder: Path, *options: str, core: int) -> Result:
    out = folder / "bench.json"
    command = ["taskset", "-c", str(core), TIDEGATE, "bench", ADDRESS, "-q", "-O", str(out), *options]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    return read(out)


def aiperf(args: argparse.Namespace, folder: Path) -> Result:
    out = folder / "aiperf"
    shutil.rmtree(out, ignore_errors=True)
    command = [
        *(args.aiperf, "profile", "-m", TRUE_MODEL, "--tokenizer", args.tokenizer, "--url", ADDRESS),
        *(
            "--endpoint-type",
            "chat",
            "--streaming",
            "--use-server-token-count",
            "--isl",
            "128",
            "--osl",
            "32",
        ),
        *(
            "--request-rate",
            str(args.rate),
            "--arrival-pattern",
            "poisson",
            "--benchmark-duration",
            str(args.seconds),
        ),
        *("--ui", "none", "--no-server-metrics", "--no-gpu-telemetry", "--workers-max", "2"),
        *("--artifact-dir", str(out)),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    found = list(out.rglob("profile_export_aiperf.json"))
    if not found:
        sys.exit(f"AIPerf left no result:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return read(found[0])


def figure(result: Result, name: str, stat: str) -> float:
    return getattr(result.steps[0].metrics[name], stat)


@contextlib.contextmanager
def stalling(pid: int) -> Iterator[None]:
    """Stop the process for one second of every ten."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(9.0):
            os.kill(pid, signal.SIGSTOP)
            over.wait(1.0)
            os.kill(pid, signal.SIGCONT)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join()


def measure_rate(args: argparse.Namespace, folder: Path, core: int) -> bool:
    print("\nrequests a second from one core, 64 users, everything streamed")
    best = 0.0
    for chunks in (1, 8):
        options = ("-m", f"m-n{chunks}-g0-d0", "-u", "64", "-d", str(args.seconds / 4), "-p", "30")
        rates = [
            figure(bench(folder, *options, core=core), "request_throughput", "avg")
            for _ in range(args.rounds)
        ]
        best = max(best, median(rates))
        print(f"  {chunks} chunks an answer: {median(rates):,.0f} req/s")
    return best >= 3000


def measure_truth(args: argparse.Namespace, folder: Path, core: int) -> bool:
    print(f"\nTTFT 50 ms, ITL 5 ms, 32 tokens, {args.rate} requests a second (Poisson), {args.seconds} s")
    ours, theirs = [], []
    for _ in range(args.rounds):
        options = ("-m", TRUE_MODEL, "-r", str(args.rate), "-d", str(args.seconds), "-o", "32")
        ours.append(bench(folder, *options, core=core))
        if args.aiperf:
            theirs.append(aiperf(args, folder))
    good = True
    for name, stat in FIGURES:
        mine = median(figure(result, name, stat) for result in ours)
        line = f"  {name} {stat}: {mine:.3f} ms"
        if theirs:
            other = median(figure(result, name, stat) for result in theirs)
            apart = abs(mine - other)
            kept = apart <= 2.0 if name == "time_to_first_token" else apart <= 0.02 * other
            good = good and kept
            line += f", AIPerf {other:.3f} ms: {mine - other:+.3f} ms ({(mine - other) / other:+.2%})"
            line += "" if kept else " TOO FAR APART"
        print(line)
    return good


def measure_stall(args: argparse.Namespace, folder: Path, core: int, engine: Server) -> bool:
    print("\na server that stops for 1 s of every 10 s, TTFT 5 ms")
    seconds = str(max(30, args.seconds))
    model = ("-m", "m-n4-g1-d5", "-p", "30", "-d", seconds)
    shown = {}
    for name, load in (
        ("closed, 4 users", ("-u", "4")),
        ("open, 50 a second, 4 at once", ("-r", "50", "--max-in-flight", "4")),
    ):
        with stalling(engine.pid):
            result = bench(folder, *model, *load, core=core)
        prompt, late = figure(result, "time_to_first_token", "p99"), figure(result, *LATE)
        shown[name] = late
        print(f"  {name}: TTFT p99 from sending {prompt:.1f} ms, from schedule {late:.1f} ms")
    return shown["open, 50 a second, 4 at once"] > 500


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=20, help="of each measurement")
    parser.add_argument("--rate", type=int, default=40, help="requests a second, for the truth")
    parser.add_argument("--only", choices=("rate", "truth", "stall"), help="one of the three")
    parser.add_argument("--aiperf", default="", help="AIPerf's command")
    parser.add_argument("--tokenizer", default="", help="a folder with a tokenizer, for AIPerf")
    args = parser.parse_args()
    cores = Cores.choose()
    engine = Server("mock_engine", ENGINE_URL)
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine.start([str(build("mock_engine"))], core=cores.server, wait_s=10)
        try:
            good = True
            if args.only in (None, "rate"):
                good &= measure_rate(args, folder, cores.load)
            if args.only in (None, "truth"):
                good &= measure_truth(args, folder, cores.load)
            if args.only in (None, "stall"):
                good &= measure_stall(args, folder, cores.load, engine)
        finally:
            engine.stop()
    print("\nall good" if good else "\na goal was missed")
    sys.exit(not good)


if __name__ == "__main__":
    main()
