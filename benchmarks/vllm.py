"""Measures what the gateway adds in front of a real vLLM: the same streams through the gateway and directly, in turn.

    make e2e-vllm ARGS=--co                      once: sets vLLM up, runs nothing
    .venv/bin/python benchmarks/vllm.py          about four minutes
        [--rounds 3] [--tokens 128] [--calls 4] [--json PATH] [--vllm-url http://127.0.0.1:8000]

Every call streams exactly --tokens tokens (`ignore_eos`), and its prompt differs from all others. Streams begin 0.25 s
apart. A round measures 1 stream and 8 streams (as many as this vLLM has slots), each directly and through the gateway, in
an order that changes from round to round. TTFT runs from the first byte of the request to the first event with text. ITL
are the gaps between such events. No process is pinned: vLLM's OpenMP leaves one core free, and its API server, the gateway
and this program share it. The gateway's CPU time is that of its process tree, from the kernel. The share of other work on
the machine is printed at the end; above a few percent, only the CPU figures are valid.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlsplit

from report import describe_machine
from rich.console import Console
from rich.table import Table
from rig import BUILD, cpu_seconds

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts" / "vllm"), str(ROOT / "tests")]

from serving import config_to, serve  # noqa: E402
from vllm_server import MODEL, SLOTS, VENV, Vllm, running_vllm  # noqa: E402

DIRECT, GATEWAY = "direct", "tidegate"
APART_S = 0.25  # streams that begin at once stay in step: vLLM reads all their prompts in one long pass
# vLLM sends an event with empty content before it has a token.
CONTENT = re.compile(rb'"content":"(?:[^"\\]|\\.)')


@dataclass
class Run:
    """One load on one target in one round. Times are in seconds."""

    target: str
    streams: int
    round: int
    tokens: int = 0
    took: float = 0.0
    gateway_cpu: float = 0.0
    ttft: list[float] = field(default_factory=list)
    itl: list[float] = field(default_factory=list)


def body(tokens: int) -> bytes:
    words = f"{uuid.uuid4()}: tell me, in as many words as you like, what the tide does to a harbour and to its boats."
    return json.dumps(
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": words}],
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()


async def one(url: str, run: Run, tokens: int) -> None:
    """Read one stream and time every event. Raises RuntimeError if the answer is not complete."""
    parts = urlsplit(url)
    asked = body(tokens)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n"
    head += "content-type: application/json\r\n"
    began = time.perf_counter()
    writer.write(f"{head}content-length: {len(asked)}\r\n\r\n".encode() + asked)
    previous, seen = 0.0, b""
    while line := await reader.readline():
        now = time.perf_counter()
        if line.startswith(b"data: {") and CONTENT.search(line):
            if previous:
                run.itl.append(now - previous)
            else:
                run.ttft.append(now - began)
            previous = now
        seen = line if line.strip() and b'"usage":{' in line else seen
    writer.close()
    made = re.search(rb'"completion_tokens":(\d+)', seen)
    if made is None or int(made[1]) != tokens:
        raise RuntimeError(f"{url} did not stream {tokens} tokens; the last line read: {seen[:300]!r}")
    run.tokens += tokens


async def load(url: str, run: Run, *, tokens: int, calls: int) -> None:
    """Make `calls` calls, one after the other, on each of the run's streams."""

    async def stream(number: int) -> None:
        await asyncio.sleep(number * APART_S)
        for _ in range(calls):
            await one(url, run, tokens)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(run.streams):
            group.create_task(stream(number))
    run.took = time.perf_counter() - began


def measure(
    urls: dict[str, str], gateway_pid: int, options: argparse.Namespace, say: Callable[[str], None]
) -> list[Run]:
    runs: list[Run] = []
    for target, url in urls.items():  # both warm
        asyncio.run(load(url, Run(target, SLOTS, 0), tokens=8, calls=1))
    for number in range(options.rounds):
        for streams in (1, SLOTS):
            order = (DIRECT, GATEWAY) if number % 2 == 0 else (GATEWAY, DIRECT)
            for target in order:
                run = Run(target, streams, number + 1)
                cpu = cpu_seconds(gateway_pid)
                calls = options.calls if streams == 1 else max(1, options.calls // 2)
                asyncio.run(load(urls[target], run, tokens=options.tokens, calls=calls))
                run.gateway_cpu = cpu_seconds(gateway_pid) - cpu
                runs.append(run)
                shown = ", ".join(f"{name} {value:.1f}" for name, value in figures(run).items())
                say(f"round {run.round}  {streams} streams  {target:9} {shown}")
    return runs


def figures(run: Run) -> dict[str, float]:
    cuts = quantiles(run.itl, n=100)
    found = {
        "TTFT p50 ms": median(run.ttft) * 1000,
        "ITL p50 ms": cuts[49] * 1000,
        "ITL p99 ms": cuts[98] * 1000,
        "tokens/s": run.tokens / run.took,
    }
    if run.target == GATEWAY:
        found["gateway CPU µs a token"] = run.gateway_cpu / run.tokens * 1e6
    return found


def show(runs: list[Run], vllm: Vllm, foreign: float) -> None:
    table = Table(
        title="Medians of the rounds; difference: the median of the rounds' differences", title_justify="left"
    )
    for column in ("streams", "figure", DIRECT, GATEWAY, "difference"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for streams in (1, SLOTS):
        table.add_section()
        found = {
            target: [figures(run) for run in runs if (run.target, run.streams) == (target, streams)]
            for target in (DIRECT, GATEWAY)
        }
        for name in found[GATEWAY][0]:
            ours = [one[name] for one in found[GATEWAY]]
            theirs = [one[name] for one in found[DIRECT] if name in one]
            cells = [f"{median(theirs):,.1f}" if theirs else "", f"{median(ours):,.1f}"]
            added = median(a - b for a, b in zip(ours, theirs, strict=True)) if theirs else None
            table.add_row(str(streams), name, *cells, f"{added:+.1f}" if added is not None else "")
    console = Console(width=None if Console().is_terminal else 110, highlight=False)
    console.print(table)
    machine = ", ".join(f"{name} {value}" for name, value in describe_machine().items())
    console.print(f"Machine: {machine}", soft_wrap=True)
    console.print(f"vLLM started in {vllm.started_in_s:.0f} s." if vllm.started_in_s else "vLLM ran already.")
    who = "Others" if vllm.pid else "vLLM and others"
    console.print(f"{who} used {foreign:.0%} of the machine during the run.")


def busy_seconds() -> float:
    """Return the total CPU time of the machine on any work, including stolen time."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(fields[i]) for i in (0, 1, 2, 5, 6, 7)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def engine(options: argparse.Namespace, say: Callable[[str], None]) -> Iterator[Vllm]:
    if options.vllm_url:
        yield Vllm(options.vllm_url)
        return
    if not (VENV / ".stamp-model").is_file():
        raise SystemExit("vLLM is not set up: run `make e2e-vllm ARGS=--co` once")
    BUILD.mkdir(exist_ok=True)
    with running_vllm(BUILD / "vllm.log", say) as vllm:
        yield vllm


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=128, help="tokens of an answer")
    parser.add_argument(
        "--calls", type=int, default=4, help="calls of a single stream; 8 streams make half as many each"
    )
    parser.add_argument("--vllm-url", help="one that runs already, without /v1; else one is started")
    parser.add_argument("--json", type=Path, help="write every sample there")
    options = parser.parse_args()
    say = Console(stderr=True, highlight=False).print
    with engine(options, say) as vllm, serve(config_to(vllm.base_url, kind="vllm")) as gateway:

        def own() -> float:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            trees = cpu_seconds(gateway.pid) + (cpu_seconds(vllm.pid) if vllm.pid else 0.0)
            return usage.ru_utime + usage.ru_stime + trees

        busy, ours, began = busy_seconds(), own(), time.monotonic()
        runs = measure({DIRECT: vllm.url, GATEWAY: gateway.url}, gateway.pid, options, say)
        took = (time.monotonic() - began) * (os.cpu_count() or 1)
        foreign = max(0.0, (busy_seconds() - busy) - (own() - ours)) / took
    show(runs, vllm, foreign)
    if options.json:
        options.json.write_text(json.dumps([asdict(run) for run in runs]))


if __name__ == "__main__":
    main()
