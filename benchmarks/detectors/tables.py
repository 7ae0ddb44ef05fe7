"""Tables of figures with the bounds that they are measured against, for people as Markdown and for programs as JSON.

A figure is a number, or a share or an area with its interval. Shares are from 0 to 1, times in milliseconds, memory in MiB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from tidegate.ops.evals.statistics import Estimate
from tidegate.ops.evals.words import area, share

Cell = Estimate | str | int | float | None
Form = Literal["share", "area", "ratio", "ms", "count", "text"]
NOTHING = "-"


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """What a figure has to keep to. `value` is None where nothing was measured. `least` says which way the bound goes."""

    what: str
    value: float | None
    limit: float
    least: bool = False
    form: Form = "share"

    @property
    def kept(self) -> bool | None:
        """Whether the figure keeps to the bound. None where nothing was measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.least else self.value <= self.limit

    def told(self) -> str:
        """The bound in words, with whether it is kept."""
        limit = f"{self.what} {'≥' if self.least else '≤'} {_plain(self.limit, self.form)}"
        if self.value is None:
            return f"{limit}: not measured"
        if self.kept:
            return f"{limit}: kept"
        return f"{limit}: **missed**, {_plain(self.value, self.form)}"


class Column(msgspec.Struct, frozen=True):
    """A column: its head, and what its figures are."""

    name: str
    form: Form = "share"


class Line(msgspec.Struct, frozen=True):
    """A row of a table: what it is about, a cell for each further column, and the bounds of its figures."""

    name: str
    cells: Sequence[Cell]
    bounds: Sequence[Bound] = ()


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table. The first column has the names of the lines, and the last one, where any line has a bound, the bounds."""

    title: str
    first: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    note: str = ""

    def bounds(self) -> Iterator[tuple[str, Bound]]:
        """Yield the bounds of all lines, each with the name of its line."""
        for line in self.lines:
            for bound in line.bounds:
                yield line.name, bound

    def markdown(self) -> str:
        """Return the table with its title and its note."""
        bounded = any(line.bounds for line in self.lines)
        heads = [self.first, *(one.name for one in self.columns), *(["bound"] if bounded else [])]
        rows = [heads, ["---", *("---" if one.form == "text" else "---:" for one in self.columns)]]
        rows[1] += ["---"] if bounded else []
        for line in self.lines:
            cells = [
                written(cell, column.form) for cell, column in zip(line.cells, self.columns, strict=True)
            ]
            told = ["; ".join(one.told() for one in line.bounds)] if bounded else []
            rows.append([line.name, *cells, *told])
        text = "\n".join(f"| {' | '.join(one.replace('|', '/') for one in row)} |" for row in rows)
        return f"### {self.title}\n\n{text}\n" + (f"\n{self.note}\n" if self.note else "")


def written(cell: Cell, form: Form) -> str:
    """Return a figure as people read it."""
    if cell is None:
        return NOTHING
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Estimate):
        return area(cell) if form == "area" else share(cell)
    return _plain(cell, form)


def summary(tables: Sequence[Table]) -> str:
    """Return how many bounds are kept, and those that are not."""
    known = [(f"{table.title}, {name}", one) for table in tables for name, one in table.bounds()]
    missed = [f"- {place}: {one.told()}" for place, one in known if one.kept is False]
    unknown = sum(one.kept is None for _, one in known)
    head = f"{sum(one.kept is True for _, one in known)} of {len(known)} bounds are kept"
    more = f", {unknown} were not measured" if unknown else ""
    return "\n".join([f"{head}{more}.", *missed])


def _plain(value: float, form: Form) -> str:
    if form == "share":
        return f"{value * 100:.4g} %"
    if form == "count" or isinstance(value, int):
        return f"{value:,.0f}"
    return f"{value:.3f}" if form in ("area", "ratio") else f"{value:.2f}"
