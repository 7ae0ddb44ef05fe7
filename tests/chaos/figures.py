"""The figures of a crowd, and what is promised of them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from chaos.crowd import Kind, Try

ALLOWED = {200, 429, 503, 504}
WAITED_MS = 250.0
"""Shorter waits are not compared with what was predicted."""


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that so many of the values do not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass
class Cell:
    """What a crowd met in one run, by definition:

    `goodput`: seconds of seats spent on calls whose first token came within the promise of their class, of those that there
    were. `used`: the same of all calls that were answered. `ttft`: the 99th percentile of the time to the first token, of
    the calls that got one, as a multiple of the promise. `share`: the part of the seconds that a class got. `left`: the part
    of the attempts whose client lost patience. `forecast`: the median error of the predicted waits over 250 ms.
    `second_try`: the part of the clients, refused once, whom the second try served.
    """

    queue: str
    load: str
    goodput: float
    used: float
    ttft: dict[str, float]
    share: dict[str, float]
    statuses: dict[int, int]
    attempts: int
    left: float
    refusal_p99_ms: float
    forecast: float | None
    forecasts: int
    second_try: float | None = None
    second_tries: int = 0
    memory_growth: float | None = None
    engine_most: int | None = None
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def cell_of(
    tries: Sequence[Try], kinds: Sequence[Kind], *, queue: str, load: str, seats: int, window: tuple[float, float]
) -> Cell:
    begin, end = window
    seconds = {one.name: 0.0 for one in kinds}
    good = 0.0
    for one in tries:
        spent = one.seat_s(begin, end)
        seconds[one.kind.name] += spent
        good += spent if one.kept else 0.0
    all_seconds = sum(seconds.values())
    capacity = seats * (end - begin)
    within = [one for one in tries if begin <= one.exchange.sent_at < end]
    errors = forecast_errors(tries)
    return Cell(
        queue=queue,
        load=load,
        goodput=good / capacity,
        used=all_seconds / capacity,
        ttft={one.name: _ttft_p99(within, one) for one in kinds},
        share={name: part / (all_seconds or 1.0) for name, part in seconds.items()},
        statuses=dict(sorted(Counter(one.status for one in tries if one.exchange.ended_at and one.status).items())),
        attempts=len(tries),
        left=sum(one.left for one in tries) / max(1, len(tries)),
        refusal_p99_ms=1000 * percentile(_refusals_s(within), 0.99),
        forecast=statistics.median(errors) if errors else None,
        forecasts=len(errors),
    )


def _ttft_p99(tries: Sequence[Try], kind: Kind) -> float:
    return percentile((one.ttft_s / kind.slo_s for one in tries if one.kind is kind and one.ttft_s is not None), 0.99)


def _refusals_s(tries: Iterable[Try]) -> Iterable[float]:
    return (one.exchange.ended_at - one.exchange.sent_at for one in tries if one.refused and one.exchange.ended_at)


def forecast_errors(tries: Iterable[Try]) -> list[float]:
    """|predicted - real| / real, of the calls that waited."""
    waits = (one.exchange.waits_ms for one in tries)
    return [abs(told - real) / real for told, real in filter(None, waits) if real > WAITED_MS]


def second_tries(tries: Iterable[Try]) -> tuple[float | None, int]:
    """The part of the clients refused once whom the second try served, and how many there were."""
    second = [one for one in tries if one.number == 1 and one.refused_before == 1 and _is_decided(one)]
    served = sum(one.exchange.first_at is not None for one in second)
    return (served / len(second) if second else None), len(second)


def _is_decided(one: Try) -> bool:
    return one.left or one.exchange.first_at is not None or one.exchange.ended_at is not None


@dataclass(frozen=True)
class Promise:
    """A promise, whether it was kept, and the figure that shows it."""

    name: str
    kept: bool
    figure: str

    def __str__(self) -> str:
        return f"{'kept  ' if self.kept else 'BROKEN'}  {self.name}: {self.figure}"


def at_least(name: str, value: float | None, bound: float) -> Promise:
    return Promise(f"{name} ≥ {bound:.1%}", value is not None and value >= bound, _told(value))


def at_most(name: str, value: float | None, bound: float) -> Promise:
    return Promise(f"{name} ≤ {bound:.1%}", value is not None and value <= bound, _told(value))


def _told(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1%}"


def of_overload(cells: Sequence[Cell], *, refusal_ms: float | None) -> list[Promise]:
    """The promises for an overload, of the cells of one queue at rising loads. `refusal_ms` bounds real refusals."""
    peak = cells[0].goodput
    found: list[Promise] = []
    for cell in cells:
        at = f"at {cell.load}"
        if cell is not cells[0]:
            found.append(at_least(f"goodput {at}, of the goodput at {cells[0].load}", cell.goodput / (peak or 1), 0.95))
        for name, ratio in cell.ttft.items():
            found.append(at_most(f"p99 TTFT of {name} {at}, of its limit", ratio, 1.0))
        odd = set(cell.statuses) - ALLOWED
        found.append(Promise(f"statuses {at}", not odd, str(cell.statuses)))
        if refusal_ms is not None:
            slow = cell.refusal_p99_ms
            found.append(Promise(f"p99 of a refusal {at} ≤ {refusal_ms:g} ms", slow <= refusal_ms, f"{slow:.1f} ms"))
        if cell.memory_growth is not None and cell is not cells[0]:
            found.append(at_most(f"growth of memory {at}", cell.memory_growth, 0.10))
    return found


def table(cells: Sequence[Cell]) -> str:
    """The cells as text, one a line."""
    lines = [
        f"{'queue':10} {'load':>6} {'goodput':>8} {'used':>6}  {'p99 TTFT / limit':24} {'share of the seats':20}"
        f" {'left':>5} {'refusal':>9} {'forecast':>9} {'memory':>7}  statuses"
    ]
    for one in cells:
        ratios = "  ".join(f"{name[:3]} {ratio:.2f}" for name, ratio in one.ttft.items())
        shares = " / ".join(f"{part:.0%}" for part in one.share.values())
        error = "-" if one.forecast is None else f"±{one.forecast:.0%}"
        memory = "-" if one.memory_growth is None else f"{one.memory_growth:+.1%}"
        statuses = "  ".join(f"{status}: {count}" for status, count in one.statuses.items())
        lines.append(
            f"{one.queue:10} {one.load:>6} {one.goodput:8.1%} {one.used:6.1%}  {ratios:24} {shares:20}"
            f" {one.left:5.0%} {one.refusal_p99_ms:6.1f} ms {error:>9} {memory:>7}  {statuses}"
        )
    return "\n".join(lines)
