"""How `tidegate usage` shows the usage: a table with a bar for each limit."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tidegate.cli.running.drawing import ALMOST, BAR, bar, duration, number
from tidegate.kernel.plain import plain

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


def drawn(page: Page, *, title: str, ascii_only: bool = False, chosen: str = "") -> RenderableType:
    """Return a page for people: a table for each tenant.

    `chosen` has the options that choose among the limits; it is empty if the page is of all limits.
    """
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
    for width in (27, BAR + 6):
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


def _amount(amount: float, unit: str) -> str:
    return f"${amount:,.2f}" if unit == "USD" else number(amount)
