"""How `tidegate usage` shows the usage: a table with a bar for each limit, once or again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tidegate.kernel.plain import plain

ALMOST = 0.8
"""A limit of which more than this share is used is coloured."""
_BAR = 10
_NO_LIMITS = (
    "This gateway has no limits. To set one, add this to its configuration:\n\n"
    "policies:\n  default:\n    limits: {requests_per_minute: 60}\n\n"
    "The page docs/quotas.md has all limits."
)
_NOTHING_KNOWN = (
    "There is no limit to show now. After a start of the gateway, a limit is shown once a call has met it."
    " `tidegate check --key NAME` prints the limits that a key meets."
)
_NO_MATCH = (
    "Nothing matches {}: no limit of which something is used now. After a start of the gateway, a limit is shown"
    " once a call has met it. `tidegate usage` without these options shows all levels and tenants."
)


class Row(msgspec.Struct, frozen=True):
    """The usage of one limit, as `GET /admin/usage` tells it."""

    level: str
    tenant: str
    dimension: str
    unit: str
    used: float
    limit: float
    left: float
    used_share: float
    resets_s: float
    burst: float | None = None
    enforce: bool = True


class Page(msgspec.Struct, frozen=True):
    """The answer of `GET /admin/usage`."""

    limits: list[Row]
    more: bool = False
    configured: bool = True
    silent_workers: int = 0


class Screen:
    """Shows pages. A live screen redraws in place on a terminal, and prints every page elsewhere."""

    def __init__(self, console: Console, title: str, *, live: bool, chosen: str = "") -> None:
        """`chosen` has the options that choose among the limits; empty if the page is of all limits."""
        self._console = console
        self._title = title
        self._chosen = chosen
        self._page: Page | None = None
        self._live = Live(console=console, auto_refresh=False) if live and console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, page: Page) -> None:
        """Show a page."""
        self._page = page
        self._draw(self._drawn(page))

    def complain(self, why: str) -> None:
        """Show why there is no present page, below the last one."""
        words = Text(f"Not up to date: {plain(why)}", style="red")
        if self._live is None or self._page is None:
            self._draw(words)
        else:
            self._draw(Group(self._drawn(self._page), words))

    def _drawn(self, page: Page) -> RenderableType:
        ascii_only = self._console.options.ascii_only
        return drawn(page, self._title, ascii_only=ascii_only, chosen=self._chosen)

    def _draw(self, what: RenderableType) -> None:
        if self._live is not None:
            self._live.update(what, refresh=True)
        else:
            self._console.print(what)


def drawn(page: Page, title: str, *, ascii_only: bool = False, chosen: str = "") -> RenderableType:
    """Return a page for people: a table for each tenant. `chosen` is that of a Screen."""
    notes: list[RenderableType] = []
    if page.more:
        notes.append(
            Text("There are more limits: choose among them with --level, --tenant or --most.", "dim")
        )
    if page.silent_workers:
        workers = f"{page.silent_workers} of the workers did not answer; what they have used is missing."
        notes.append(Text(workers, "red"))
    if not page.limits:
        return Group(Text(_why_empty(page, chosen)), *notes)
    tables: list[RenderableType] = []
    for (level, tenant), rows in _by_tenant(page.limits).items():
        tables.append(Text(f"{plain(level)} {plain(tenant)}", "bold"))
        tables.append(_table(rows, ascii_only=ascii_only))
    return Group(Text(f"Usage at {plain(title)}\n"), *tables, *notes)


def _why_empty(page: Page, chosen: str) -> str:
    if not page.configured:
        return _NO_LIMITS
    return _NO_MATCH.format(plain(chosen)) if chosen else _NOTHING_KNOWN


def _by_tenant(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Group limits by tenant. The order of the levels, and of the fullest limits of the tenants, stays as it was."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.level, row.tenant), []).append(row)
    return groups


def _table(rows: Sequence[Row], *, ascii_only: bool) -> Table:
    """Return the limits of one tenant. The widths are fixed, so that the tables are aligned."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for width in (27, _BAR + 6):
        table.add_column(width=width)
    for width in (15, 16):
        table.add_column(width=width, justify="right")
    for row in rows:
        table.add_row(*_cells(row, ascii_only=ascii_only), style=_style(row))
    return table


def _cells(row: Row, *, ascii_only: bool) -> tuple[Text, ...]:
    used, capacity = _amount(row.used, row.unit), _amount(row.used + row.left, row.unit)
    limit = f"{plain(row.dimension)} {_amount(row.limit, row.unit)}"
    said = "\nin debt" if row.left < 0 else ""
    return (
        Text(f"  {limit}" if row.enforce else f"  {limit}\n  (counted only)"),
        Text(f"{bar(row.used_share, ascii_only=ascii_only)} {100 * row.used_share:3.0f} %{said}"),
        Text(f"{used} of {capacity}"),
        Text(f"resets in {duration(row.resets_s)}" if row.resets_s else ""),
    )


def _style(row: Row) -> str:
    if row.left < 0:
        return "red"
    return "yellow" if row.used_share > ALMOST else ""


def bar(share: float, *, ascii_only: bool = False) -> str:
    """Return a bar of ten characters. It is full only if nothing is left, and empty only if nothing is used."""
    filled = min(round(_BAR * share), _BAR)
    if 0 < share < 1:
        filled = min(max(filled, 1), _BAR - 1)
    full, empty = ("#", ".") if ascii_only else ("█", "░")
    return full * filled + empty * (_BAR - filled)


def duration(seconds: float) -> str:
    """Return a time in its two largest units, such as `11h 2m`. It is rounded up to seconds."""
    left = int(-(-seconds // 1))
    parts: list[str] = []
    for size, name in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{name}")
    return " ".join(one for one in parts[:2] if not one.startswith("0")) or "0s"


def number(amount: float) -> str:
    """Return a number in at most six characters: whole below 10,000, else with three digits and a letter."""
    if abs(amount) < 9_999.5:
        return f"{amount:,.0f}"
    for size, letter in ((1e3, "k"), (1e6, "M"), (1e9, "G")):
        if abs(amount) < 999.5 * size:
            return f"{amount / size:.3g}{letter}"
    return f"{amount:.2e}"


def _amount(amount: float, unit: str) -> str:
    return f"${amount:,.2f}" if unit == "USD" else number(amount)
