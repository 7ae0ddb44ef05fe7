"""How `tidegate queue` shows the queue: its bounds, its classes, the engines, and the tenants that wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tidegate.cli.running.drawing import ALMOST, BAR, bar, duration, number
from tidegate.dispatch.forecast import Outlook
from tidegate.dispatch.state import EngineState, QueueState
from tidegate.kernel.plain import plain

MOST_TENANTS = 10
_STYLES = {"healthy": "green", "degraded": "yellow", "overloaded": "red"}


def drawn(state: QueueState, *, title: str, ascii_only: bool = False) -> RenderableType:
    """Return the state for people."""
    head = Text(f"Queue at {plain(title)}: ").append(plain(state.state), _STYLES.get(state.state, ""))
    return Group(head, Text(), *_parts(state, ascii_only=ascii_only))


def _parts(state: QueueState, *, ascii_only: bool) -> Iterator[RenderableType]:
    yield _bounds(state, ascii_only=ascii_only)
    if state.rejections:
        counts = ", ".join(
            f"{plain(one.priority)} {plain(one.reason)} {one.calls:,}" for one in state.rejections
        )
        yield Text(f"\nRefused since the start: {state.rejected:,} ({counts})")
    yield Text("\nClasses, in the order in which they go", "bold")
    yield _classes(state, ascii_only=ascii_only)
    yield Text("\nEngines", "bold")
    for engine in state.engines:
        yield from _engine(engine, ascii_only=ascii_only)
    if state.tenants:
        yield Text("\nTenants with the most work that waits", "bold")
        yield _tenants(state)
    if state.forecast is not None:
        yield Text(f"\nA new call of the class {plain(state.forecast.priority)}: {expected(state.forecast)}")
    if state.workers:
        yield Text("\nWorkers", "bold")
        yield _workers(state, ascii_only=ascii_only)
    if state.silent_workers:
        yield Text(f"{state.silent_workers} of the workers did not answer; their queues are missing.", "red")


def expected(one: Outlook) -> str:
    """Return what a call has to expect, in words."""
    if one.refused:
        return f"refused ({plain(one.refused)}), to come back after {seconds(one.retry_after_s)}"
    if not one.position:
        return "a seat at once"
    if one.wait_s is None:
        return f"place {one.position}; how fast the engine is was not measured yet"
    return f"place {one.position}, about {seconds(one.wait_s)}"


def seconds(amount: float) -> str:
    """Return a time, with a tenth of a second below ten."""
    return f"{amount:.1f}s" if amount < 10 else duration(amount)


def _grid(*widths: int, right: Iterable[int] = ()) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for at, width in enumerate(widths):
        table.add_column(width=width, justify="right" if at in right else "left")
    return table


def _used(share: float, *, ascii_only: bool) -> str:
    return f"{bar(share, ascii_only=ascii_only)} {100 * share:3.0f} %"


def _colour(share: float) -> str:
    return "red" if share >= 1 else "yellow" if share > ALMOST else ""


def _bounds(state: QueueState, *, ascii_only: bool) -> Table:
    table = _grid(16, BAR + 6, 24)
    for name, used, most in (
        ("calls", state.size, state.max_size),
        ("work in tokens", state.work, state.max_work),
        ("bytes", state.bytes, state.max_bytes),
    ):
        share = used / most if most else 0.0
        amounts = f"{number(used)} of {number(most)}"
        table.add_row(f"  {name}", _used(share, ascii_only=ascii_only), amounts, style=_colour(share))
    return table


def _classes(state: QueueState, *, ascii_only: bool) -> Table:
    table = _grid(16, BAR + 6, 7, 9, 7, 9, right=(2, 3, 4, 5))
    table.add_row("  class", "of all calls", "waiting", "work", "share", "longest", style="dim")
    for one in state.classes:
        share = one.waiting / state.max_size if state.max_size else 0.0
        table.add_row(
            Text(f"  {plain(one.priority)}"),
            _used(share, ascii_only=ascii_only),
            number(one.waiting),
            number(one.work),
            f"{100 * one.share:.3g} %",
            seconds(one.longest_wait_s),
        )
    return table


def _engine(engine: EngineState, *, ascii_only: bool) -> Iterator[RenderableType]:
    table = _grid(16, BAR + 6, 14, 24)
    used, seats = "no limit", f"{engine.in_flight:,} calls"
    if engine.limit is not None:
        used = _used(engine.in_flight / max(1, engine.limit), ascii_only=ascii_only)
        seats = f"{engine.in_flight:,} of {engine.limit:,}"
    table.add_row(
        Text(f"  {plain(engine.engine)}"),
        used,
        seats,
        Text(_limit(engine)),
        style="" if engine.ready else "red",
    )
    yield table
    rate = "" if engine.rate is None else f", {number(engine.rate)} tokens of work a second"
    yield Text(f"    {engine.waiting:,} waiting{rate}")
    for one in engine.forecast:
        yield Text(f"    a new {plain(one.priority)} call: {expected(one)}", "dim")


def _limit(engine: EngineState) -> str:
    parts = [] if engine.ready else ["not ready"]
    if engine.limit != engine.most:
        parts.append(f"limit lowered from {engine.most}: {plain(engine.why)}")
    if engine.reserved:
        parts.append(f"{engine.reserved} reserved")
    return ", ".join(parts)


def _tenants(state: QueueState) -> Table:
    table = _grid(32, 16, 7, 9, right=(2, 3))
    table.add_row("  tenant", "class", "waiting", "work", style="dim")
    for one in state.tenants[:MOST_TENANTS]:
        name = plain(one.tenant) or "(without a key)"
        table.add_row(Text(f"  {name}"), Text(plain(one.priority)), number(one.waiting), number(one.work))
    if state.more_tenants or len(state.tenants) > MOST_TENANTS:
        table.add_row("  (and others)", "", "", "", style="dim")
    return table


def _workers(state: QueueState, *, ascii_only: bool) -> Table:
    table = _grid(16, BAR + 6, 12, 20)
    for one in state.workers:
        share = one.size / one.max_size if one.max_size else 0.0
        used, calls = _used(share, ascii_only=ascii_only), f"{one.size:,} of {one.max_size:,} calls"
        table.add_row(
            f"  worker {one.worker}", used, Text(plain(one.state)), calls, style=_STYLES.get(one.state, "")
        )
    return table
