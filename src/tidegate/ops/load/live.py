"""The display of a running load test: one line per step, and the progress of the current step."""

from __future__ import annotations

from typing import Self

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tidegate.kernel.plain import plain
from tidegate.ops.load.result import Metric, Result, Step
from tidegate.ops.load.worker import Ended, Progress

_RUNNING_OUT = "waiting for the last answers"
_HEADINGS = (
    "\nreq/s",
    "TTFT ms\np50/95/99",
    "scheduled\np99",
    "ITL ms\np50/95",
    "gap\np99",
    "\ntok/s",
    "\nerrors",
)


class Screen:
    """Shows the reports of a run. On a terminal it redraws in place; elsewhere it prints a line for each step."""

    def __init__(self, console: Console, names: list[str], *, title: str) -> None:
        self._console = console
        self._names = names
        self._title = title
        self._steps: list[Step] = []
        self._progress: Progress | None = None
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._plain = not console.is_terminal

    def __enter__(self) -> Self:
        if self._plain:
            self._console.print(_text(self._title), soft_wrap=True)
        else:
            self._live.start()
            self._live.update(self._page(), refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._plain:
            self._live.stop()

    def show(self, report: Progress | Ended) -> None:
        """Take in a report and draw."""
        if isinstance(report, Ended):
            self._steps.append(report.step)
            self._progress = None
            if self._plain:
                self._console.print(_line(report.step), highlight=False, soft_wrap=True)
        else:
            self._progress = report
        if not self._plain:
            self._live.update(self._page(), refresh=True)

    def _page(self) -> RenderableType:
        parts: list[RenderableType] = [_text(self._title, style="bold")]
        if self._steps:
            parts.append(table(self._steps))
        if self._progress is not None:
            parts.append(_running(self._names[self._progress.index], self._progress))
        elif not self._steps:
            parts.append(Text("asking the server for its models, and how it counts tokens", style="dim"))
        left = self._names[len(self._steps) + (self._progress is not None) :]
        if left:
            parts.append(_text("then " + ", ".join(left), style="dim"))
        return Group(*parts)


def table(steps: list[Step]) -> Table:
    """Return a table of the most important figures."""
    page = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    page.add_column("", no_wrap=True)
    good = any("goodput" in step.metrics for step in steps)
    for heading in (*_HEADINGS, *(["\ngood"] if good else [])):
        page.add_column(heading, justify="right", no_wrap=True)
    page.add_column("", no_wrap=True)
    for step in steps:
        page.add_row(*_cells(step, good=good))
    return page


def summary(result: Result, console: Console) -> None:
    """Print the whole run: figures, missed criteria, errors, notes, and the tester's own health."""
    console.print(_text(result.model, style="bold"), _text(f"at {result.url}"))
    console.print(table(result.steps))
    for step in result.steps:
        for check in step.checks:
            if check.passed is False:
                value = "nothing" if check.value is None else f"{check.value:.4g} {check.unit}"
                missed = f"{step.name}: {check.name} {value}, wanted {check.wanted}"
                console.print(Text("✗", style="red"), _text(missed))
        for kind, count in step.errors.items():
            console.print(_text(f"  {step.name}: {kind}, {count} times: {step.error_examples.get(kind, '')}"))
        if step.health.degraded:
            text = f"  {step.name}: the tester itself was too busy: {step.health.why}. Its figures are not to be trusted."
            console.print(_text(text, style="yellow"))
    for note in result.notes:
        console.print(_text(f"  {note}", style="dim"))


def _running(name: str, progress: Progress) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    ttft = (
        ""
        if progress.ttft_p50_ms is None
        else f"TTFT {_ms(progress.ttft_p50_ms)} p95 {_ms(progress.ttft_p95_ms)} ms"
    )
    if progress.share >= 1:
        ttft = _RUNNING_OUT
    failed = f"[red]{progress.failed} of the latest failed[/]" if progress.failed else ""
    row.add_row(
        _text(name),
        ProgressBar(total=1.0, completed=progress.share, width=24),
        f"{progress.per_s:.1f} req/s",
        f"{progress.in_flight} under way",
        ttft,
        failed,
    )
    return row


def _text(text: str, *, style: str = "") -> Text:
    """Return untrusted text without control characters, as plain text: its brackets are not markup."""
    return Text(plain(text), style=style)


def _cells(step: Step, *, good: bool) -> list[str]:
    found = step.metrics
    failed = found["error_fraction"].avg if "error_fraction" in found else 0.0
    return [
        escape(plain(step.name)),
        f"{found['request_throughput'].avg:.1f}",
        _of(found.get("time_to_first_token"), "p50", "p95", "p99"),
        _of(found.get("time_to_first_token_from_schedule"), "p99"),
        _of(found.get("inter_token_latency"), "p50", "p95"),
        _of(found.get("inter_chunk_latency"), "p99"),
        f"{found['output_token_throughput'].avg:.0f}",
        f"[red]{failed:.2%}[/]" if failed else "0 %",
        *([f"{found['good_request_fraction'].avg:.1%}"] if good else []),
        "[green]pass[/]" if all(check.passed is not False for check in step.checks) else "[red]fail[/]",
    ]


def _line(step: Step) -> str:
    name, rate, ttft, _, itl, _, tokens, failed, verdict = _cells(step, good=False)
    return (
        f"{name}: {rate} req/s, TTFT p50/95/99 {ttft} ms, ITL p50/95 {itl} ms, {tokens} tok/s, "
        f"errors {failed}, {verdict}"
    )


def _of(metric: Metric | None, *names: str) -> str:
    if metric is None:
        return ""
    values = msgspec.structs.asdict(metric)
    return "/".join(_ms(values[name]) for name in names)


def _ms(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
