"""How a drill is shown while it runs: its phases, the classes, the engines, the tenants, and what was done to engines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tidegate.cli.running.drawing import BAR, bar, number
from tidegate.ops.drill.figures import (
    ClassFigures,
    EngineNow,
    Now,
    Seen,
    TenantFigures,
    by_class,
    by_tenant,
    percentile,
)
from tidegate.ops.drill.plan import Act, Phase, Plan, kind_of
from tidegate.ops.drill.run import View
from tidegate.ops.drill.verdict import Promise

WINDOW_S = 5.0
"""The time that the figures per second and the latencies are of."""
UNKNOWN = "-"
_DEEDS = {
    "kill": "the process of {} is killed",
    "start": "{} is started again",
    "slow": "{} becomes slow",
    "restore": "{} is fast again",
}
_STATES = {"up": "green", "killed": "red", "starting": "yellow", "slow": "yellow"}
_BREAKERS = {"closed": "green", "open": "red"}


def drawn(view: View, *, ascii_only: bool = False) -> RenderableType:
    """Return the drill as it is now."""
    recent = [one for one in view.calls if one.done_s >= view.at_s - WINDOW_S]
    return Group(
        _head(view, ascii_only=ascii_only),
        _phases(view.plan, view.phase),
        Text(f"{view.phase.name}: {view.phase.about}\n", "dim"),
        _classes(by_class(view.calls), recent, min(WINDOW_S, max(view.at_s, 1e-9))),
        Text(),
        _engines(view.now, ascii_only=ascii_only),
        _queue(view.now),
        Text(),
        _tenants(by_tenant(view.calls), ascii_only=ascii_only),
        Text(),
        *(_act(act) for act in view.done),
    )


def line(view: View) -> Text:
    """Return the drill as it is now in one line, for output that is not a terminal."""
    good = sum(one.good for one in view.calls)
    shed = sum(one.outcome == "shed" for one in view.calls)
    failed = sum(one.outcome in {"failed", "broken", "cut"} for one in view.calls)
    counts = f"{view.sent:,} calls sent, {good:,} good answers, {shed:,} shed, {failed:,} failed"
    return Text(f"{view.at_s:5.1f} s  {view.phase.name} ({view.phase.about}): {counts}")


def judged(promises: Sequence[Promise]) -> RenderableType:
    """Return the verdict: a line for each promise."""
    table = _grid(6, 0, 0)
    for promise in promises:
        word = Text("kept", "green") if promise.kept else Text("BROKEN", "bold red")
        table.add_row(word, Text(promise.name), Text(promise.figure, "dim"))
    return table


def described(act: Act) -> str:
    """Return what was done to an engine, in words."""
    return _DEEDS[act.deed].format(act.engine)


def _head(view: View, *, ascii_only: bool) -> Text:
    share = min(1.0, view.at_s / view.plan.seconds)
    at = f"{min(view.at_s, view.plan.seconds):.0f} s of {view.plan.seconds:g} s"
    left = ", waiting for the last answers" if view.at_s > view.plan.seconds else ""
    return Text.assemble(("Drill  ", "bold"), bar(share, ascii_only=ascii_only), f"  {at}{left}")


def _phases(plan: Plan, now: Phase) -> Text:
    found = Text()
    for phase in plan.phases:
        over = phase.end_s <= now.begin_s
        style = "bold reverse" if phase is now else "dim" if over else ""
        found.append(f" {phase.name} ", style).append(" ")
    return found


def _classes(whole: Sequence[ClassFigures], recent: Sequence[Seen], window_s: float) -> Table:
    table = _grid(12, 7, 7, 8, 8, 7, 6, 7, 7, right=range(1, 9))
    heads = ("class", "ended", "good/s", "TTFT p50", "p99", "limit", "shed", "failed", "broken")
    table.add_row(*heads, style="dim")
    for one in whole:
        own = [call for call in recent if call.kind == one.kind]
        ttfts = [call.ttft_s for call in own if call.ttft_s is not None]
        limit_s, p99 = kind_of(one.kind).limit_s, percentile(ttfts, 0.99)
        table.add_row(
            one.kind,
            number(one.sent),
            f"{sum(call.good for call in own) / window_s:.1f}",
            _seconds(percentile(ttfts, 0.5)),
            Text(_seconds(p99), "red" if p99 is not None and p99 > limit_s else ""),
            f"{limit_s:g} s",
            _counted(one.outcomes["shed"], "yellow"),
            _counted(one.outcomes["failed"], "red"),
            _counted(one.outcomes["broken"] + one.outcomes["cut"], "red"),
        )
    return table


def _engines(now: Now | None, *, ascii_only: bool) -> Table:
    table = _grid(12, 10, BAR + 9, 9, 8, 9, right=(4, 5))
    table.add_row("engine", "state", "calls at once", "breaker", "retries", "requests", style="dim")
    for one in now.engines if now is not None else ():
        table.add_row(
            one.name,
            Text(one.state, _STATES[one.state]),
            _used(one, ascii_only=ascii_only),
            Text(one.breaker or UNKNOWN, _BREAKERS.get(one.breaker, "")),
            UNKNOWN if one.retries is None else number(one.retries),
            number(one.requests),
        )
    return table


def _queue(now: Now | None) -> Text:
    if now is None:
        return Text()
    failovers = "" if now.failovers is None else f"; {now.failovers:,} failovers"
    return Text(f"queue {now.queue}, {now.waiting:,} calls wait{failovers}")


def _used(one: EngineNow, *, ascii_only: bool) -> str:
    if one.limit is None:
        return f"{one.in_flight}"
    share = one.in_flight / max(one.limit, 1)
    return f"{bar(share, ascii_only=ascii_only)} {one.in_flight} of {one.limit}"


def _tenants(tenants: Sequence[TenantFigures], *, ascii_only: bool) -> Table:
    table = _grid(12, 12, 7, 8, 7, 8, BAR + 6, right=range(2, 6))
    table.add_row("tenant", "class", "ended", "answers", "shed", "tokens", "of all tokens", style="dim")
    for one in tenants:
        table.add_row(
            one.tenant,
            one.kind,
            number(one.sent),
            number(one.served),
            _counted(one.shed, "yellow"),
            number(one.tokens),
            f"{bar(one.share, ascii_only=ascii_only)} {100 * one.share:3.0f} %",
        )
    return table


def _act(act: Act) -> Text:
    return Text(f"{act.at_s:5.1f} s  {described(act)}", "dim")


def _counted(count: int, style: str) -> Text:
    return Text(number(count), style if count else "")


def _seconds(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f} s"


def _grid(*widths: int, right: Iterable[int] = ()) -> Table:
    """Return a table with fixed widths; 0 is as wide as needed."""
    table, places = Table.grid(padding=(0, 1, 0, 0)), set(right)
    for at, width in enumerate(widths):
        table.add_column(width=width or None, justify="right" if at in places else "left")
    return table
