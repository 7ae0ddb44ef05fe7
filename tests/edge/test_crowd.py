"""Clients that never send and clients that never read: a bound on what they cost, while others are served."""

from __future__ import annotations

import socket

import pytest
from edge.crowd import (
    STREAM,
    WHOLE,
    Talkative,
    allow_files,
    clients,
    request,
    resident_mib,
    talkative_engine,
)
from serving import Process, ask, config_to, serve

CROWD = 1000
GROWTH_MIB = 100.0
QUIET_ROUNDS = 10
LONG = {"first_byte_timeout_ms": 600_000, "send_stall_ms": 600_000}  # that they stay is the point here


def served(process: Process) -> bool:
    return (
        ask(f"{process.base_url}/chat/completions", WHOLE, {"content-type": "application/json"}).status == 200
    )


def settle(process: Process, talk: Talkative, *, most_mib: float) -> None:
    """Returns once the engine can say no more, although it and the gateway have had some turns; memory stays below."""
    quiet = 0
    while quiet < QUIET_ROUNDS:
        before = talk.events
        assert served(process)
        quiet = quiet + 1 if talk.events == before else 0
        assert resident_mib(process.pid) <= most_mib


@pytest.mark.timeout(180)  # it takes some ten seconds of a core
def test_thousands_that_never_send_or_never_read_cost_little_memory() -> None:
    allow_files(3 * CROWD + 500)
    talk = Talkative()
    with talkative_engine(talk) as url, serve(config_to(url, server=LONG)) as process:
        assert all(served(process) for _ in range(QUIET_ROUNDS))
        most_mib = resident_mib(process.pid) + GROWTH_MIB
        with clients(process.url, CROWD, b"") as silent, clients(process.url, CROWD, request(STREAM)) as deaf:
            heads = [one.recv(8, socket.MSG_PEEK) for one in deaf]
            assert heads == [b"HTTP/1.1"] * CROWD, "all are served"
            assert len(silent) == CROWD
            settle(process, talk, most_mib=most_mib)
