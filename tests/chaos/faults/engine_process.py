"""A scripted engine in a process of its own, with a journal that outlives a kill: python -m … NAME PORT JOURNAL.

Its answers name it in `system_fingerprint`. Each line of the journal is written before the next byte of an answer.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from chaos.faults.history import Asked
from tidegate.engines.scripted.record import Entry, Record
from tidegate.engines.scripted.script import Script
from tidegate.engines.scripted.server import ScriptedServer, serve

_OP = re.compile(rb"op-(\d+)")


class JournalLine(msgspec.Struct, kw_only=True):
    """One step of one call. `step` is one of: began, delivered, ended."""

    step: str
    engine: str
    run: int
    number: int
    at: float
    op: int = -1
    gateway: str = ""
    tokens: int = 0
    outcome: str = ""


class Journal(Record):
    """A record that is written to a file as it is made."""

    def __init__(self, engine: str, path: Path) -> None:
        self._engine = engine
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        super().__init__()

    def began(self, entry: Entry, fault: str) -> None:
        super().began(entry, fault)
        found = _OP.search(bytes(entry.body or b""))
        self._write("began", entry, op=int(found[1]) if found else -1, gateway=_gateway(entry))

    def delivered(self, entry: Entry, tokens: int) -> None:
        super().delivered(entry, tokens)
        self._write("delivered", entry, tokens=tokens)

    def ended(self, entry: Entry, outcome: str) -> None:
        super().ended(entry, outcome)
        self._write("ended", entry, outcome=outcome)

    def _write(self, step: str, entry: Entry, **more: Any) -> None:
        line = JournalLine(
            step=step, engine=self._engine, run=os.getpid(), number=entry.number, at=self._clock(), **more
        )
        os.write(self._file, msgspec.json.encode(line) + b"\n")


def _gateway(entry: Entry) -> str:
    return entry.headers.get("x-chaos-gateway", "")


def read_journal(path: Path) -> list[Asked]:
    """The calls of a journal. A call of a killed engine has no end."""
    found: dict[tuple[int, int], Asked] = {}
    for text in path.read_bytes().splitlines() if path.exists() else ():
        line = msgspec.json.decode(text, type=JournalLine)
        call = line.run, line.number
        match line.step:
            case "began":
                found[call] = Asked(
                    engine=line.engine,
                    run=line.run,
                    number=line.number,
                    op=line.op,
                    gateway=line.gateway,
                    began_at=line.at,
                )
            case "delivered":
                found[call].delivered += line.tokens
            case _:
                found[call].ended_at, found[call].outcome = line.at, line.outcome
    return list(found.values())


async def main(name: str, port: int, journal: Path) -> None:
    server = ScriptedServer(script=Script(extra={"event": {"system_fingerprint": name}}), port=port)
    server.record = Journal(name, journal)
    await serve(server, listening=lambda url: print(f"scripted engine on {url}", flush=True))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
