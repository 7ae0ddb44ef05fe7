"""Prints the figures of an evaluation for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tidegate.cli import store
from tidegate.ops.evals.result import (
    Comparison,
    Disagreement,
    Figures,
    Pairs,
    PlanResult,
    Result,
)
from tidegate.ops.evals.words import area, chance, difference, notes, percent, share, thresholds, warnings


def print_result(result: Result, html: Path | None) -> None:
    """Print the tables of each plan, then how the plans differ."""
    say = Console(highlight=False, soft_wrap=True)
    for plan in result.plans:
        _plan(plan, result, say)
    if result.comparison is not None:
        _compared(result.comparison, [plan.profile for plan in result.plans], say)
    for told in (*warnings(result), *notes(result)):
        say.print(told, markup=False)
    if html is not None:
        say.print(f"Page: {html}", markup=False)


def _plan(plan: PlanResult, result: Result, say: Console) -> None:
    positives, negatives = plan.all.positives, plan.all.negatives
    say.print(
        f"Profile '{plan.profile}', surface '{result.surface}': {plan.checked:,} texts, {positives.texts:,} that should"
        f" be flagged and {negatives.texts:,} without fault.",
        markup=False,
    )
    parts = [*plan.sources, plan.all] if len(plan.sources) > 1 else [plan.all]
    _figures("source", parts)
    for field, groups in plan.groups.items():
        _figures(field, groups)
    _rails(plan)
    rows = list(thresholds(plan.all, result.calibrated_on))
    store.print_table(("threshold", "from", "recall", "wrongly flagged"), rows)
    if plan.pairs is not None:
        _pairs(plan.pairs)
    whole = plan.times[-1]
    say.print(
        f"Times of all rails: p50 {whole.p50_ms:.3f} ms, p99 {whole.p99_ms:.3f} ms, {plan.texts_per_s:,.0f} texts/s"
        f"{'' if result.jobs == 1 else f' at once in each of {result.jobs} jobs'}.",
        markup=False,
    )


def _figures(kind: str, parts: Sequence[Figures]) -> None:
    heads = [f"recall at {percent(one.target)} FPR" for one in parts[0].at_shares] if parts else []
    columns = (
        kind,
        "to flag",
        "without fault",
        "AUC",
        *heads,
        "blocked",
        "wrongly blocked",
        "wrongly flagged",
    )
    failed = any(one.positives.failed or one.negatives.failed for one in parts)
    rows = [
        (
            one.name,
            f"{one.positives.texts:,}",
            f"{one.negatives.texts:,}",
            area(one.auc),
            *(share(at.recall) for at in one.at_shares),
            share(one.positives.blocked_share),
            share(one.negatives.blocked_share),
            share(one.negatives.flagged_share),
            *((f"{one.positives.failed + one.negatives.failed:,}",) if failed else ()),
        )
        for one in parts
    ]
    store.print_table((*columns, *(("failed",) if failed else ())), rows)


def _rails(plan: PlanResult) -> None:
    heads = [f"recall at {percent(one.target)} FPR" for one in plan.all.at_shares]
    took = {one.name: one for one in plan.times}
    rows = [
        (
            one.rail,
            area(one.auc),
            *(share(at.recall) for at in one.at_shares),
            share(one.objects_positives),
            share(one.objects_negatives),
            f"{took[one.rail].p50_ms:.3f}",
            f"{took[one.rail].p99_ms:.3f}",
        )
        for one in plan.by_rail
    ]
    store.print_table(("rail", "AUC", *heads, "objects", "wrongly objects", "p50 ms", "p99 ms"), rows)


def _pairs(pairs: Pairs) -> None:
    targets = [one.target for one in pairs.macro]
    columns = ("to flag", "without fault", "AUC")
    columns += tuple(f"recall at {percent(one)} FPR" for one in targets)
    columns += tuple(f"apart, {percent(one)}: recall" for one in targets)
    columns += tuple(f"apart, {percent(one)}: wrongly flagged" for one in targets)
    rows = [
        (
            one.positives,
            one.negatives,
            area(one.auc),
            *(share(at.recall) for at in one.at_shares),
            *(share(at.recall) for at in one.apart),
            *(share(at.flagged) for at in one.apart),
            *([""] * (2 * len(targets)) if not one.apart else []),
        )
        for one in pairs.cells
    ]
    means = (
        *(one.recall for one in pairs.macro),
        *(one.apart_recall for one in pairs.macro),
        *(one.apart_flagged for one in pairs.macro),
    )
    mean = "" if pairs.auc is None else f"{pairs.auc:.3f}"
    rows.append(("mean", "", mean, *("" if one is None else f"{one * 100:.1f} %" for one in means)))
    store.print_table(columns, rows)


def _compared(found: Comparison, names: Sequence[str], say: Console) -> None:
    first, second = names
    say.print(
        f"'{second}' against '{first}', over {found.texts:,} texts: AUC {difference(found.auc, points=False)}.",
        markup=False,
    )
    for at, one in found.recall.items():
        told = f"Recall at {percent(float(at))} FPR: {difference(one, points=True)}."
        say.print(told, markup=False)
    for side, one in (
        ("that should be flagged", found.blocked_positives),
        ("without fault", found.blocked_negatives),
    ):
        say.print(_blocked(side, one, names), markup=False)


def _blocked(side: str, one: Disagreement, names: Sequence[str]) -> str:
    first, second = names
    return (
        f"Of the texts {side}, {one.both:,} are blocked by both, {one.only_first:,} only by '{first}',"
        f" {one.only_second:,} only by '{second}' (p {chance(one.p)}, McNemar)."
    )
