"""What is promised of the figures: a name, the bound, and the figure that shows whether the promise was kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaos.figures import Cell, percentile
from chaos.leaving import LIMIT_MS, Leaving

ALLOWED = {200, 429, 503, 504}
SHARE = 0.05
"""The share of the seats that the configuration keeps for each class, unless it says otherwise."""
SHARE_ERROR = 0.1
"""How far a measured share may lie below, as a part of it: a minute has some forty calls of a class."""


@dataclass(frozen=True)
class Promise:
    name: str
    kept: bool
    figure: str

    def __str__(self) -> str:
        return f"{'kept  ' if self.kept else 'BROKEN'}  {self.name}: {self.figure}"


def at_least(name: str, value: float | None, bound: float) -> Promise:
    return Promise(f"{name} ≥ {bound:.3g}", value is not None and value >= bound, _told(value))


def at_most(name: str, value: float | None, bound: float) -> Promise:
    return Promise(f"{name} ≤ {bound:.3g}", value is not None and value <= bound, _told(value))


def _told(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3g}"


def of_overload(cells: Sequence[Cell], *, refusal_ms: float | None = None) -> list[Promise]:
    """O1, of the cells of one queue at rising loads. `refusal_ms` bounds the refusals; None on a clock that is not real."""
    lowest, found = cells[0], list[Promise]()
    for cell in cells:
        at = f"at {cell.load}"
        found += [
            at_most(f"{at}: p99 TTFT of {name} / its limit", ratio, 1.0) for name, ratio in cell.ttft.items()
        ]
        odd = set(cell.statuses) - ALLOWED
        found.append(Promise(f"{at}: no status but 200, 429, 503, 504", not odd, str(cell.statuses)))
        if refusal_ms is not None:
            found.append(at_most(f"{at}: p99 of a refusal in ms", cell.refusal_p99_ms, refusal_ms))
        if cell is not lowest:
            ratio = cell.goodput / (lowest.goodput or 1.0)
            found.append(at_least(f"{at}: goodput / goodput at {lowest.load}", ratio, 0.95))
            if cell.memory_growth is not None:
                found.append(at_most(f"{at}: growth of memory", cell.memory_growth, 0.1))
    return found


def of_steady(cell: Cell) -> list[Promise]:
    """How much of the capacity is used at a steady load above it."""
    return [at_least(f"at {cell.load}: capacity used", cell.used, 0.95)]


def of_waits(cells: Sequence[Cell]) -> list[Promise]:
    """How well waits are predicted. The shorter a wait, the more depends on the lengths of the few answers before it."""
    return [
        at_most(f"at {cell.load}: median error of {cell.forecasts} predicted waits", cell.forecast, 0.2)
        for cell in cells
    ]


def of_burst(cell: Cell) -> list[Promise]:
    """What `Retry-After` is worth to a client that obeys it."""
    name = f"burst: of {cell.second_tries} clients refused once, served at the second try"
    return [at_least(name, cell.second_try, 0.9)]


def of_fairness(parts: Mapping[str, float]) -> list[Promise]:
    """O2."""
    furthest = max(abs(part - 1 / len(parts)) for part in parts.values())
    told = " / ".join(f"{part:.1%}" for part in parts.values())
    return [Promise("tokens of two tenants, 10:1 a call, 50 ± 1 %", furthest <= 0.01, told)]


def of_flood(cell: Cell) -> list[Promise]:
    """O3."""
    bound = SHARE * (1 - SHARE_ERROR)
    found = [at_least(f"flood: share of {name}", share, bound) for name, share in cell.share.items()]
    found += [
        at_most(f"flood: p99 TTFT of {name} / its limit", ratio, 1.0) for name, ratio in cell.ttft.items()
    ]
    return [*found, at_least("flood: capacity used", cell.used, 0.95)]


def of_leaving(found: Leaving) -> list[Promise]:
    """O4."""
    named = {
        "the engine's connection is closed": found.closed_ms,
        "the next call is at the engine": found.next_ms,
        "the call of a client that left the line is nowhere": found.ghost_ms,
    }
    return [
        at_most(f"left: p99 of ms until {name}, {len(values)} times", percentile(values, 0.99), LIMIT_MS)
        for name, values in named.items()
    ]
