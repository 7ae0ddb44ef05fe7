"""The figures of a crowd, and what is promised of them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chaos.crowd import Crowd, Kind, Try

WAITED_MS = 250.0
"""Shorter waits are not compared with what was predicted."""


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that so many of the values do not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass
class Cell:
    """What a crowd met in one run:

    - `goodput`: the part of the seconds of the seats that was spent on calls whose first token came within the promise of
      their class; `used`: on all calls that were answered.
    - `ttft`: for each class, the 99th percentile of the time to the first token of the calls that got one, as a multiple
      of the promise; None if there were no such calls.
    - `share`: the part of those seconds that each class got.
    - `left`: the part of the attempts whose client lost patience.
    - `forecast`: the median error of the predicted waits, of the `forecasts` calls that waited more than 250 ms;
      `forecast_of`: the same for each class.
    - `second_try`: the part of the `second_tries` clients, refused once, whom the second try served.
    - `memory_mib`: the largest resident memory of the gateway; `memory_growth`: against the lowest load.
    - `engine_most`: the most calls that the engine had at once.
    - `late_p99_ms`: how late the clients came. If this is not small, the machine is too slow to measure with.
    """

    queue: str
    load: str
    goodput: float
    used: float
    ttft: dict[str, float | None]
    share: dict[str, float]
    statuses: dict[int, int]
    attempts: int
    left: float
    refusal_p99_ms: float
    forecast: float | None
    forecasts: int
    forecast_of: dict[str, float | None]
    second_try: float | None
    second_tries: int
    late_p99_ms: float
    memory_mib: float | None = None
    memory_growth: float | None = None
    engine_most: int | None = None


def cell_of(crowd: Crowd, *, queue: str, load: str, window: tuple[float, float]) -> Cell:
    """The figures of a crowd that has left. `window` are the times between which all but the statuses are measured."""
    begin, end = window
    tries, kinds = crowd.tries, crowd.kinds
    seconds = {one.name: 0.0 for one in kinds}
    good = 0.0
    for one in tries:
        spent = one.seat_s(begin, end)
        seconds[one.kind.name] += spent
        good += spent if one.kept else 0.0
    all_seconds, capacity = sum(seconds.values()), crowd.seats * (end - begin)
    within = [one for one in tries if begin <= one.exchange.sent_at < end]
    statuses = Counter(one.status for one in tries if one.exchange.ended_at and not one.exchange.left_at)
    errors = {one.name: forecast_errors(each for each in within if each.kind is one) for one in kinds}
    all_errors = [error for each in errors.values() for error in each]
    second_try, second = second_tries(tries)
    return Cell(
        queue=queue,
        load=load,
        goodput=good / capacity,
        used=all_seconds / capacity,
        ttft={one.name: _ttft_p99(tries, one, window) for one in kinds},
        share={name: part / (all_seconds or 1.0) for name, part in seconds.items()},
        statuses=dict(sorted(statuses.items())),
        attempts=len(tries),
        left=sum(one.left for one in tries) / max(1, len(tries)),
        refusal_p99_ms=1000 * percentile(_refusals_s(within), 0.99),
        forecast=_median(all_errors),
        forecasts=len(all_errors),
        forecast_of={name: _median(each) for name, each in errors.items()},
        second_try=second_try,
        second_tries=second,
        late_p99_ms=1000 * percentile(crowd.late_s, 0.99),
    )


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def compare_memory(cells: Sequence[Cell]) -> None:
    """Set the growth of memory of each cell against the first one."""
    for cell in cells:
        if cell.memory_mib and cells[0].memory_mib:
            cell.memory_growth = cell.memory_mib / cells[0].memory_mib - 1


def _ttft_p99(tries: Iterable[Try], kind: Kind, window: tuple[float, float]) -> float | None:
    begin, end = window
    found = [
        one.ttft_s / kind.slo_s
        for one in tries
        if one.kind is kind and one.ttft_s is not None and begin <= (one.exchange.first_at or 0.0) < end
    ]
    return percentile(found, 0.99) if found else None


def _refusals_s(tries: Iterable[Try]) -> Iterable[float]:
    return (
        one.exchange.ended_at - one.exchange.sent_at for one in tries if one.refused and one.exchange.ended_at
    )


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


def table(cells: Sequence[Cell]) -> str:
    """The cells as text, one a line."""
    head = (
        f"{'queue':10} {'load':>6} {'goodput':>8} {'used':>6}  {'p99 TTFT / limit':24} {'share of the seats':20}"
        f" {'left':>5} {'refusal':>9} {'forecast':>9} {'memory':>7}  statuses"
    )
    lines = [head]
    for one in cells:
        ratios = "  ".join(f"{name[:3]} {_ratio(ratio)}" for name, ratio in one.ttft.items())
        shares = " / ".join(f"{part:.0%}" for part in one.share.values())
        error = "-" if one.forecast is None else f"±{one.forecast:.0%}"
        memory = "-" if one.memory_growth is None else f"{one.memory_growth:+.1%}"
        statuses = "  ".join(f"{status}: {count}" for status, count in one.statuses.items())
        lines.append(
            f"{one.queue:10} {one.load:>6} {one.goodput:8.1%} {one.used:6.1%}  {ratios:24} {shares:20}"
            f" {one.left:5.0%} {one.refusal_p99_ms:6.1f} ms {error:>9} {memory:>7}  {statuses}"
        )
    return "\n".join(lines)


def _ratio(value: float | None) -> str:
    return "   -" if value is None else f"{value:.2f}"
