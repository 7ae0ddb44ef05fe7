"""How `tidegate review` shows cases: a table of many, and a page of one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tidegate.cli.running.drawing import duration
from tidegate.kernel.plain import plain
from tidegate.types import Decision

_CHARS = 60
_NONE = "No case is open. A rail with `on_fail: review` makes one; the page docs/review.md has an example."


class Made(Decision, frozen=True):
    """A decision as the admin API shows it."""

    at: str = ""  # pyright: ignore[reportIncompatibleVariableOverride]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A case as the admin API shows it."""

    number: int
    id: str
    call_id: str
    created: str
    deadline: str
    surface: str
    rail: str
    category: str
    score: float
    question: str
    text: str
    policy: str
    model: str
    key: str
    at: int = 0
    place: str = ""
    others: Sequence[str] = ()
    profile: str = ""
    decision: Made | None = None


class Page(msgspec.Struct, frozen=True):
    """The answer of `GET /admin/reviews`."""

    cases: list[Shown]
    next: int | None = None


def drawn(page: Page, *, title: str, ascii_only: bool = False) -> RenderableType:
    """Return a table of cases."""
    del ascii_only
    if not page.cases:
        return Text(_NONE)
    table = Table(title=f"Cases at {plain(title)}", title_justify="left")
    for name in ("case", "client waits", "rail", "surface", "model", "text"):
        table.add_column(name, overflow="fold" if name == "text" else "ellipsis", no_wrap=name == "case")
    for one in page.cases:
        text = " ".join(plain(one.text).split())
        cut = text if len(text) <= _CHARS else f"{text[: _CHARS - 3]}..."
        cells = (one.id, state(one), _rail(one), one.surface, one.model, cut)
        table.add_row(*(Text(plain(cell)) for cell in cells))
    more = (
        [Text("There are more cases: decide about these first, or see --after.", "dim")] if page.next else []
    )
    return Group(table, *more)


def shown(one: Shown) -> RenderableType:
    """Return the page of one case."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    rows = [
        ("case", one.id),
        ("call", one.call_id),
        ("rail", _rail(one) + (f" (also {', '.join(one.others)})" if one.others else "")),
        ("place", f"{one.surface}, {one.place} of {one.at}"),
        ("under", f"policy {one.policy}, profile {one.profile}"),
        ("model", one.model),
        ("key", one.key or "none"),
        ("created", one.created),
        ("client waits", state(one)),
    ]
    if one.decision is not None:
        rows.append(("decided", f"{one.decision.action} by {one.decision.by} at {one.decision.at}"))
        rows += [("reason", one.decision.reason)] if one.decision.reason else []
    for name, value in rows:
        grid.add_row(Text(name, "dim"), Text(plain(value)))
    parts: list[RenderableType] = [grid]
    edited = one.decision.text if one.decision is not None else ""
    for name, text in (("Question", one.question), ("Text", one.text), ("Edited", edited)):
        if text:
            parts += [Text(f"\n{name}", "bold"), Text(plain(text))]
    return Group(*parts)


def state(one: Shown) -> str:
    """Return how long the client still waits, or what was decided."""
    if one.decision is not None:
        return one.decision.action
    left_s = datetime.fromisoformat(one.deadline).timestamp() - datetime.now(UTC).timestamp()
    return duration(left_s) if left_s > 0 else "no more"


def _rail(one: Shown) -> str:
    return f"{one.rail} {one.category} {one.score:.2f}" if one.category else one.rail
