"""What must be true of every history, whatever failed meanwhile. Each checker returns the lines that break its rule."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from chaos.faults.history import Act, Asked, History, Op, Passed

CUT_WITHIN_S = 1.0
"""How long an engine may work on after its gateway has left it. The promise is 250 ms; a machine may be busy."""


def truncated(history: History) -> list[str]:
    """A complete answer is exactly what an engine has said to this request, all of it."""
    whole = {(one.op, one.engine) for one in history.asked if _said_all(one, history)}
    return [
        f"op {op.number} is complete with {op.text[-30:]!r} of {op.expected[-30:]!r}, by {op.engines}"
        for op in history.ops
        if op.end == "done"
        and (op.text != op.expected or not any((op.number, engine) in whole for engine in op.engines))
    ]


def _said_all(asked: Asked, history: History) -> bool:
    return asked.op < len(history.ops) and asked.delivered >= history.ops[asked.op].tokens


def repeated(history: History) -> list[str]:
    """The text of an answer, however it ends, is the beginning of the right one, of one engine, and nothing follows it."""
    return [
        f"op {op.number} got {op.text!r} by {op.engines}{' after its end' * op.after_end}"
        for op in history.ops
        if not op.expected.startswith(op.text) or len(op.engines) > 1 or op.after_end
    ]


def tried_after_text(history: History) -> list[str]:
    """No engine is asked for a streamed answer of which the client has a part."""
    first_at = {op.number: op.first_at for op in history.ops if op.streamed}
    return [
        f"op {one.op} was asked of {one.engine} after its first text"
        for one in history.passed
        if (first := first_at.get(one.op)) is not None and one.received_at > first
    ]


def unanswered(history: History) -> list[str]:
    """Every request ends, with 200 and all of it, or with an error that says so; unless its own gateway was harmed."""
    return [
        f"op {op.number} at {op.gateway} {op.end} with status {op.status} after {op.ended_at - op.sent_at:.1f} s"
        for op in history.ops
        if op.end not in {"done", "error"} and not _excused(op, history.acts)
    ]


def _excused(op: Op, acts: Iterable[Act]) -> bool:
    return any(
        act.whom == op.gateway and act.began_at <= op.ended_at and op.sent_at <= act.ended_at for act in acts
    )


def over_seats(history: History, seats: int) -> list[str]:
    """No gateway has more calls at an engine than the engine's seats.

    A call that the gateway has given up counts until `CUT_WITHIN_S` before its end: the engine learns of it later.
    """
    spans: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for one in history.asked:
        spans[one.gateway, one.engine].append((one.began_at, _counts_until(one, history.acts)))
    return [
        f"{gateway} had {most} calls at {engine}, with {seats} seats"
        for (gateway, engine), found in spans.items()
        if (most := most_at_once(found)) > seats
    ]


def _counts_until(one: Asked, acts: Iterable[Act]) -> float:
    """The end of a call. What an engine notices after it was stopped, or not any more, ended when the harm began."""
    if one.outcome == "finished" and one.ended_at is not None:
        return one.ended_at
    harmed = [act.began_at for act in acts if act.whom == one.engine and act.ended_at >= one.began_at]
    noticed = math.inf if one.ended_at is None else one.ended_at
    return max(one.began_at, min([noticed - CUT_WITHIN_S, *(at for at in harmed if at < noticed)]))


def most_at_once(spans: Sequence[tuple[float, float]]) -> int:
    """The most spans that overlap. One that ends when another begins does not overlap it."""
    steps = sorted(
        [(begin, 1) for begin, end in spans if end > begin]
        + [(end, -1) for begin, end in spans if end > begin]
    )
    running = most = 0
    for _, step in steps:
        running += step
        most = max(most, running)
    return most


def crowded_probes(history: History, engine: str, *, since: float) -> list[str]:
    """Once a breaker is open, its gateway has at most one call at the failing engine: the probe.

    Calls before the time `since` are not judged: they open the breaker, or run when it opens.
    """
    found: dict[str, list[Passed]] = defaultdict(list)
    for one in history.passed:
        if one.engine == engine and one.fault != "none" and one.received_at >= since:
            found[one.gateway].append(one)
    return [
        f"{gateway} had {most} probes at once at {engine}"
        for gateway, calls in found.items()
        if (most := most_at_once([(one.received_at, one.ended_at or one.received_at) for one in calls])) > 1
    ]


def failovers_s(history: History) -> list[float]:
    """For each time that a call went from one engine to another: from the end of the failure to the next engine."""
    rounds: dict[int, list[Passed]] = defaultdict(list)
    for one in sorted(history.passed, key=lambda one: one.received_at):
        rounds[one.op].append(one)
    return [
        max(0.0, after.received_at - (before.ended_at or after.received_at))
        for calls in rounds.values()
        for before, after in itertools.pairwise(calls)
        if before.engine != after.engine
    ]


def requests_ratio(history: History) -> float:
    """Requests at the engines for each request of a client that reached a gateway."""
    sent = sum(op.end != "unreached" for op in history.ops)
    return len(history.passed) / max(1, sent)


ALWAYS: dict[str, Callable[[History], list[str]]] = {
    "no silent truncation": truncated,
    "no repeated text, and none after an end": repeated,
    "no engine asked after the first text": tried_after_text,
    "every call answered with 200 or an error": unanswered,
}
"""The rules of every history."""


def ends(history: History) -> dict[str, int]:
    """How the requests ended, by end and error code."""
    return dict(sorted(Counter(f"{op.end} {op.code}".strip() for op in history.ops).items()))


def faults(history: History) -> dict[str, int]:
    """How many calls met each fault."""
    return dict(sorted(Counter(one.fault for one in history.passed).items()))
