"""The figures of a history, for a table and for the summary."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chaos.faults.checkers import ends, failovers_s, faults, requests_ratio
from chaos.faults.history import History
from chaos.figures import percentile


@dataclass
class Row:
    """What happened in one run:

    - `ends`: how the requests ended, `answered`: the part of them that was answered in full.
    - `ratio`: requests at the engines for each request of a client.
    - `failovers`: how often a call went to another engine; `failover_p99_ms`: from the end of the failure until then.
    - `late_p99_ms`: how late the clients and proxies were. If this is not small, the machine is too slow to measure with.
    - `faults`: the faults that calls met. `acts`: how often the nemesis did what.
    """

    name: str
    requests: int
    answered: float
    ends: dict[str, int]
    ratio: float
    failovers: int
    failover_p99_ms: float | None
    faults: dict[str, int]
    acts: dict[str, int]
    late_p99_ms: float


def row_of(name: str, history: History) -> Row:
    waits = failovers_s(history)
    acts = [act.what for act in history.acts]
    return Row(
        name=name,
        requests=len(history.ops),
        answered=sum(op.end == "done" for op in history.ops) / max(1, len(history.ops)),
        ends=ends(history),
        ratio=requests_ratio(history),
        failovers=len(waits),
        failover_p99_ms=1000 * percentile(waits, 0.99) if waits else None,
        faults=faults(history),
        acts={what: acts.count(what) for what in sorted(set(acts))},
        late_p99_ms=max((late.p99_ms for late in history.late), default=0.0),
    )


def table(rows: Iterable[Row]) -> str:
    """The rows as text, one a line."""
    lines = [
        f"{'run':24} {'requests':>8} {'answered':>8} {'engine requests':>15} {'failovers':>9} {'p99':>8}  ends"
    ]
    for one in rows:
        p99 = "-" if one.failover_p99_ms is None else f"{one.failover_p99_ms:.1f} ms"
        told = "  ".join(f"{name}: {count}" for name, count in one.ends.items())
        lines.append(
            f"{one.name:24} {one.requests:8} {one.answered:8.1%} {one.ratio:14.3f}x {one.failovers:9} {p99:>8}  {told}"
        )
    return "\n".join(lines)
