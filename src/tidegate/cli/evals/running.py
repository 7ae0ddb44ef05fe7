"""Runs the rails of a profile over labelled texts, and shows how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tidegate.cli import settings
from tidegate.cli.rails import choosing
from tidegate.cli.rails.choosing import Chosen
from tidegate.cli.rails.reviewing import reviewed
from tidegate.ops.evals.checking import Check, Checked, Progress, Said, check_all
from tidegate.ops.evals.evaluation import Run
from tidegate.ops.evals.rows import BadRows, Form, Read, Row, read
from tidegate.ports import Clock
from tidegate.rails.checking import Decision
from tidegate.rails.step import Step
from tidegate.types import Text

_EVERY_S = 10.0
"""So often a line says how far it is, where there is no terminal."""


def read_rows(files: Sequence[Path], form: Form) -> Read:
    """Return the texts of files. Ends with status 2 if there are none, or if a line is none."""
    try:
        found = read(files, form)
    except BadRows as error:
        settings.fail(str(error))
    if not found.rows:
        named = ", ".join(map(str, files))
        told = (
            f"{found.left_out:,} have another label than those that count"
            if found.left_out
            else "it is empty"
        )
        settings.fail(f"{named}: no text is left to check: {told}")
    return found


def only(plan: Chosen, rails: Sequence[str]) -> Chosen:
    """Return a plan with some of its rails, or with all if none is named. Ends with status 2 if it has no such rail."""
    known = [step.name for step in plan.steps]
    for name in rails:
        if name not in known:
            settings.fail(
                f"--rail: the profile '{plan.plan.name}' has no rail '{name}' for the surface '{plan.surface.value}';"
                f" it has: {', '.join(known)}"
            )
    if not rails:
        return plan
    rules, checks = ([step for step in side if step.name in rails] for side in (plan.rules, plan.checks))
    return plan._replace(rules=rules, checks=checks)


def check_with(plan: Chosen, clock: Clock = time.perf_counter) -> Check:
    """Return a function that puts a text through the rails of a plan. Every rail is asked, also behind a block."""

    async def check(row: Row) -> Checked:
        said = {step.name: Said() for step in plan.steps}

        def told(step: Step, _: Text, decision: Decision) -> None:
            said[step.name].hear(decision.verdict, decision.action)

        began = clock()
        review = await reviewed(plan, row.text, clock, told=told, goes_on=True, around=row.around._asdict())
        took_s = clock() - began
        for finding in review.findings:
            one = said[finding.rail]
            one.took_s += finding.took_s
            one.error = one.error or finding.error
        return Checked(row, said, took_s)

    return check


def run_plan(
    plan: Chosen, rows: Sequence[Row], calibration: Sequence[Row], *, config: Path | None, jobs: int
) -> Run:
    """Put texts through a plan, those for calibration first. Ctrl-C ends it with what there is by then."""
    check = check_with(plan)

    async def work() -> tuple[list[Checked], list[Checked], bool]:
        with _shown(f"{plan.plan.name}", len(calibration) + len(rows)) as progress:
            first, complete = await check_all(calibration, check, jobs=jobs, progress=progress)
            if not complete:
                return first, [], False
            done = len(first)
            found, complete = await check_all(
                rows, check, jobs=jobs, progress=lambda more: progress(done + more)
            )
            return first, found, complete

    try:
        calibrated, checked, complete = choosing.run(plan, work)
    except KeyboardInterrupt:
        stopped()
    if not checked and rows:
        stopped()
    return Run(
        profile=plan.plan.name,
        config=str(config or ""),
        rails=[step.name for step in plan.steps],
        checked=checked,
        complete=complete,
        calibration=calibrated,
    )


def stopped() -> NoReturn:
    """End the command with status 1, since no text was checked."""
    print("Stopped before any text was checked.", file=sys.stderr)
    sys.exit(1)


@contextmanager
def _shown(name: str, total: int) -> Generator[Progress]:
    """Show how far it is, on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console, name, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=total)
        yield lambda done: bar.update(task, completed=done)


class _Lines:
    """Says now and then how far it is."""

    def __init__(self, console: Console, name: str, total: int, clock: Clock = time.monotonic) -> None:
        self._console = console
        self._name = name
        self._total = total
        self._clock = clock
        self._next = clock() + _EVERY_S

    def __call__(self, done: int) -> None:
        if self._clock() >= self._next:
            self._next = self._clock() + _EVERY_S
            self._console.print(
                f"{self._name}: {done:,} of {self._total:,} texts", markup=False, highlight=False
            )
