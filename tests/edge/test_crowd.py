"""Clients that never send and clients that never read: a bound on what they cost, while others are served."""

from __future__ import annotations

import time

from edge.crowd import STREAM, WHOLE, allow_files, clients, request, resident_mib, talkative_engine
from serving import Process, ask, config_to, serve

CROWD = 1000
GROWTH_MIB = 100.0
LONG = {"first_byte_timeout_ms": 60_000}  # that they stay is the point here


def served(process: Process) -> bool:
    return (
        ask(f"{process.base_url}/chat/completions", WHOLE, {"content-type": "application/json"}).status == 200
    )


def settled_mib(process: Process) -> float:
    """Memory once it grows no more: half a second within 1 MiB."""
    seen = [resident_mib(process.pid)]
    while len(seen) < 6 or max(seen[-6:]) - min(seen[-6:]) > 1:
        assert len(seen) < 150, f"it grows and grows: {seen[::10]}"
        assert served(process)
        time.sleep(0.1)
        seen.append(resident_mib(process.pid))
    return seen[-1]


def test_thousands_that_never_send_or_never_read_cost_little_memory() -> None:
    allow_files(3 * CROWD + 500)
    with talkative_engine() as url, serve(config_to(url, server=LONG)) as process:
        assert served(process)
        before = settled_mib(process)
        with clients(process.url, CROWD, b"") as silent, clients(process.url, CROWD, request(STREAM)) as deaf:
            after = settled_mib(process)
            assert served(process)
            assert all(one.recv(8).startswith(b"HTTP/1.1") for one in deaf), "all were served"
            assert len(silent) == CROWD
        assert after - before <= GROWTH_MIB
