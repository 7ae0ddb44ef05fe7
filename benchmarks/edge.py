"""Measures what hostile clients cost other clients: figures for RESULTS.md.

    .venv/bin/python benchmarks/edge.py                 both parts, about a minute
    .venv/bin/python benchmarks/edge.py --seconds 20    longer rounds

1. The p99 of well-meaning clients, alone and while the raw corpus of tests/edge is thrown at the same gateway in a loop:
   at most doubled.
2. Memory after 1,000 connections that never send and 1,000 that ask for a long stream and never read: at most 100 MiB more,
   while others are served.

The gateway runs as a separate process with default limits and one worker. The corpus is sent from a second process, so that
its cost is not measured as the gateway's.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "edge")]

from corpus import CASES, Case  # noqa: E402 - from the tests, which are no package
from crowd import STREAM, WHOLE, allow_files, clients, request, resident_mib, talkative_engine  # noqa: E402
from serving import config_to, serve  # noqa: E402

CLIENTS = 8
PACE_S = 0.02
CROWD = 1000
BIG_BYTES = 2**20


async def one_client(url: str, seconds: float, took: list[float]) -> None:
    """Send a request every 20 ms, at fixed times, on one connection. Latencies are measured from those fixed times."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    began = due = time.monotonic()
    while due < began + seconds:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        writer.write(request(WHOLE))
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"a well-meaning client got {head[:200]!r}")
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
        took.append(time.monotonic() - due)
        due += PACE_S
    writer.close()


def latency_ms(url: str, seconds: float) -> tuple[float, float]:
    """Return p50 and p99 over all clients."""

    async def run() -> list[float]:
        took: list[float] = []
        await asyncio.gather(*(one_client(url, seconds, took) for _ in range(CLIENTS)))
        return sorted(took)

    took = asyncio.run(run())
    return took[len(took) // 2] * 1000, took[len(took) * 99 // 100] * 1000


async def attack(url: str, cases: list[Case]) -> None:
    """Run one hostile client: it sends every case on a new connection, repeatedly, and prints the number at its end."""
    parts = urlsplit(url)
    while True:
        for case in cases:
            try:
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
                writer.write(case.data)
                await asyncio.wait_for(reader.read(65536), 0.3)
            except (OSError, TimeoutError):
                pass
            finally:
                writer.close()
            print(end=".", flush=True)


async def attack_with(url: str, *, count: int, big: bool) -> None:
    """Run several hostile clients. Each begins at another place in the corpus."""
    cases = [case for case in CASES if big or len(case.data) <= BIG_BYTES]
    await asyncio.gather(
        *(attack(url, cases[at:] + cases[:at]) for at in range(0, len(cases), len(cases) // count))
    )


def others(url: str, seconds: float) -> None:
    latency_ms(url, 1)
    for attackers, big in ((1, False), (4, False), (4, True)):
        alone = latency_ms(url, seconds)
        command = [
            *("nice", "-n", "19"),  # so that the attackers take no CPU time from the measuring process
            sys.executable,
            __file__,
            "--attack",
            url,
            "--attackers",
            str(attackers),
            *(["--big"] if big else []),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as hostile:
            beside = latency_ms(url, seconds)
            hostile.kill()
            sent = len(hostile.stdout.read()) if hostile.stdout else 0
        print(
            f"{attackers} attackers{', cases over 1 MiB too' if big else ''}: {sent / seconds:.0f} hostile requests/s;"
            f" p50 {alone[0]:.2f} -> {beside[0]:.2f} ms, p99 {alone[1]:.2f} -> {beside[1]:.2f} ms,"
            f" {beside[1] / alone[1]:.2f} x"
        )


def crowd(url: str, pid: int) -> None:
    before = resident_mib(pid)
    with clients(url, CROWD, b""):
        time.sleep(1)
        silent = resident_mib(pid)
        with clients(url, CROWD, request(STREAM)):
            deaf = 0.0
            for _ in range(40):  # shorter than the limit after which all of them are dropped
                time.sleep(0.5)
                deaf = max(deaf, resident_mib(pid))
            p50, p99 = latency_ms(url, 2)
    print(
        f"{CROWD} that never send: {silent - before:+.1f} MiB; {CROWD} that never read: {deaf - silent:+.1f} MiB"
    )
    print(f"{before:.1f} -> {deaf:.1f} MiB in all; others meanwhile: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--attack", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--attackers", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--big", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack:
        asyncio.run(attack_with(options.attack, count=options.attackers, big=options.big))
        return
    allow_files(3 * CROWD + 500)
    with talkative_engine() as engine, serve(config_to(engine)) as gateway:
        others(gateway.url, options.seconds)
    with talkative_engine() as engine, serve(config_to(engine)) as gateway:
        latency_ms(gateway.url, 1)
        crowd(gateway.url, gateway.pid)


if __name__ == "__main__":
    main()
