"""`tidegate rails profile`: how long the rails of a profile take, rail by rail and together, against the budget."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter, validators
from rich.console import Console

from tidegate.cli import settings, store
from tidegate.cli.rails.choosing import AsJson, Chosen, ConfigPath, OnSurface, Profile, chosen, run
from tidegate.cli.rails.reviewing import reviewed
from tidegate.cli.rails.times import PLAN, Budget, Measured, Times, of_samples
from tidegate.cli.rails.times_page import page
from tidegate.cli.rails.trying import read_text
from tidegate.cli.running.drawing import bar
from tidegate.ports import Clock
from tidegate.rails.budgets import critical_path
from tidegate.rails.checking import JUDGE_TIER
from tidegate.types import Action

WARM_UP = 20
"""So many texts are checked first and not measured: the first ones fill caches and load code."""
_OVER = 1


def profile(  # noqa: PLR0913 - an option each
    file: Annotated[Path | None, Parameter(allow_leading_hyphen=True, show_default=False)] = None,
    /,
    *,
    profile: Profile = "",
    surface: OnSurface = "input",
    rounds: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1000))] = 3,
    html: Path | None = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Measure how long the rails of a profile take on your own texts.

    Each text goes through the profile as in a gateway: rules one after the other, the others side by side, and no rail
    after a block. The critical path is the time of the rails that run one after the other, and has to fit into the budgets:
    `rails.budget_ms` for rules and small models, `rails.judge_budget_ms` for judges. A rail that does not fit is decided by
    its `on_error`. The first rail that needs a view of a text, such as the folded one, pays for it. Rails that ask models
    ask for every text in every round, with the engines of the configuration.

    For example:

    `tidegate rails profile prompts.txt`: one text a line

    `tidegate rails profile prompts.jsonl --profile strict --html rails.html`: the member `text` of each line, and a page

    `tidegate rails profile answers.txt --surface output --json`: the rails for answers, for a program

    Exit status: 0 if the critical path fits into the budgets at p99; 1 if it does not; 2 if the command is wrong.

    Parameters
    ----------
    file
        A file in UTF-8 with one text a line, or lines of JSON with the member `text`. Default: standard input.
    profile
        The profile. Default: that of the policy `default`, or else `rules`.
    surface
        Where the texts stand: `input`, `system`, `retrieval`, `tool` or `output`.
    rounds
        How often each text is checked.
    html
        File for a page with the figures and a picture. Default: none is written.
    config
        The configuration. Default: tidegate.yaml if it is here, else the built-in configuration.
    as_json
        Print JSON.

    """
    plan = chosen(config, profile, surface, forgets=True)
    texts = list(_texts(read_text(file)))
    if not texts:
        settings.fail(
            f"{file or 'standard input'}: has no text: write one a line, or lines of JSON with `text`"
        )
    check_page(html)
    times = run(plan, lambda: measured(plan, texts, rounds=rounds))
    if html is not None:
        html.write_text(page(times), encoding="utf-8")
    if as_json:
        store.print_json(times)
    else:
        _print(times, html)
    sys.exit(_OVER if any(budget.p99_ms > budget.has_ms for budget in times.budgets) else 0)


def check_page(path: Path | None, option: str = "--html") -> None:
    """End with status 2 if a file of an option cannot be written, before the time is spent."""
    if path is None:
        return
    if path.is_dir() or not path.name:
        settings.fail(f"{option}: {path} is a folder: name a file in it")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        settings.fail(f"{option}: {path} cannot be written: name a file in a folder that can be")


def _texts(data: str) -> Iterator[str]:
    """Yield the texts of a file: whole lines, or the member `text` of lines of JSON."""
    for line in data.splitlines():
        if not line.strip():
            continue
        try:
            found: Any = msgspec.json.decode(line)
        except msgspec.DecodeError:
            found = None
        text: Any = found.get("text") if isinstance(found, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        yield text if isinstance(text, str) else line


async def measured(
    plan: Chosen, texts: Sequence[str], *, rounds: int, clock: Clock = time.perf_counter
) -> Times:
    """Check each text `rounds` times, and return how long that takes. `clock` is in seconds."""
    for text in texts[:WARM_UP]:
        await reviewed(plan, text, clock)
    took: dict[str, list[float]] = {step.name: [] for step in plan.steps}
    whole: list[float] = []
    stopped = failed = 0
    for _ in range(rounds):
        for text in texts:
            began = clock()
            review = await reviewed(plan, text, clock)
            whole.append(clock() - began)
            for finding in review.findings:
                took[finding.rail].append(finding.took_s)
            stopped += review.stopped is not None
            failed += any(finding.error for finding in review.findings)
    rails = [of_samples(step.name, step.about.tier, took[step.name]) for step in plan.steps]
    return Times(
        profile=plan.plan.name,
        surface=plan.surface.value,
        texts=len(texts),
        characters=sum(map(len, texts)),
        rounds=rounds,
        stopped=stopped,
        failed=failed,
        rails=rails,
        whole=of_samples(PLAN, None, whole),
        budgets=_budgets(plan, {one.name: one for one in rails}),
    )


def _budgets(plan: Chosen, rails: dict[str, Measured]) -> list[Budget]:
    """Return what the critical path needs of each budget: the figures of the single rails, put together."""
    needed = [
        critical_path(plan.steps, lambda step, at=at: getattr(rails[step.name], at) / 1000)
        for at in ("p50_ms", "p95_ms", "p99_ms")
    ]
    usual = [round(one.usual_s * 1000, 4) for one in needed]
    judges = [round(one.judges_s * 1000, 4) for one in needed]
    found = [Budget("rails.budget_ms", plan.plan.budget_s * 1000, *usual)]
    if any(step.about.tier >= JUDGE_TIER for step in plan.steps):
        found.append(Budget("rails.judge_budget_ms", plan.plan.judge_budget_s * 1000, *judges))
    return found


def _print(times: Times, html: Path | None) -> None:
    every = [*times.rails, times.whole]
    longest = max(one.p99_ms for one in every) or 1.0
    rows = [
        (
            one.name,
            "" if one.tier is None else str(one.tier),
            f"{one.checks:,}",
            *(f"{value:.3f}" for value in (one.p50_ms, one.p95_ms, one.p99_ms)),
            bar(one.p99_ms / longest),
        )
        for one in every
    ]
    columns = ("rail", "tier", "checks", "p50 ms", "p95 ms", "p99 ms", "p99, of the longest")
    store.print_table(columns, rows)
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"Profile '{times.profile}', surface '{times.surface}': {times.texts:,} texts of"
        f" {times.characters / times.texts:,.0f} characters on average, {times.rounds} times;"
        f" {times.stopped:,} checks ended with a {Action.BLOCK.word}.",
        markup=False,
    )
    if times.failed:
        console.print(
            f"In {times.failed:,} checks a rail failed, so these times are not those of its verdicts: see"
            " `tidegate rails check`.",
            markup=False,
        )
    for budget in times.budgets:
        console.print(
            f"Critical path: p50 {budget.p50_ms:.3f} ms, p95 {budget.p95_ms:.3f} ms, p99 {budget.p99_ms:.3f} ms"
            f" {bar(min(budget.p99_ms / budget.has_ms, 1.0))} {budget.p99_ms / budget.has_ms:.1%} of"
            f" {budget.setting} ({budget.has_ms:g} ms){budget.said}",
            markup=False,
        )
    if html is not None:
        console.print(f"Page: {html}", markup=False)
