"""What is promised while engines fail, judged on a history."""

from __future__ import annotations

from chaos.faults.checkers import (
    ALWAYS,
    crowded_probes,
    ends,
    failovers_s,
    over_seats,
    requests_ratio,
)
from chaos.faults.history import History
from chaos.faults.scenarios import during_outage, outage_at
from chaos.figures import percentile
from chaos.promises import Promise, at_least, at_most

OPENING_S = 3.0
"""The time after which the breaker of a failing engine is open, and what ran before has ended."""
FAILOVER_MS = 50.0
ANSWERED = 0.9
"""The rest are those that wait for a silent engine, or that have no retry left, until the breakers open."""


def of_rules(name: str, history: History, *, seats: int) -> list[Promise]:
    """The rules of every history."""
    found = {rule: check(history) for rule, check in ALWAYS.items()}
    found["no engine over its seats"] = over_seats(history, seats)
    many = len(history.ops)
    answered = sum(op.end == "done" for op in history.ops) / max(1, many)
    judged = [
        Promise(f"{name}: {rule}", not broken, broken[0] if broken else f"of {many} requests")
        for rule, broken in found.items()
    ]
    return [*judged, at_least(f"{name}: answered in full", answered, 0.25)]


def of_outage(name: str, history: History, *, times_milliseconds: bool = True) -> list[Promise]:
    """T1. The history is of the scenario `outage`; its first engine is `a`."""
    judged = during_outage(history)
    waits_ms = [1000 * waited for waited in failovers_s(judged)]
    probes = crowded_probes(judged, "a", since=outage_at(history) + OPENING_S)
    told = str(ends(judged))
    answered = sum(op.end == "done" for op in judged.ops) / max(1, len(judged.ops))
    found = [
        at_least(f"{name}: answered in full meanwhile", answered, ANSWERED),
        at_most(f"{name}: engine requests / client requests", requests_ratio(judged), 1.1),
        Promise(f"{name}: one probe at a time", not probes, probes[0] if probes else told),
    ]
    if times_milliseconds and waits_ms:
        what = f"{name}: p99 of ms that {len(waits_ms)} failovers added"
        found.append(at_most(what, percentile(waits_ms, 0.99), FAILOVER_MS))
    return found
