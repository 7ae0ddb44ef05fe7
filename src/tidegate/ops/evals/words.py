"""Says figures of evaluations, and what makes them doubtful, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tidegate.ops.evals.result import Figures, PlanResult, Result
from tidegate.ops.evals.statistics import Difference, Estimate
from tidegate.ops.load.report.numbers import NOTHING


def percent(value: float) -> str:
    """Return a share in %, with as many digits as it needs: 0.2 %, 1 %, 98.7 %."""
    return f"{value * 100:.4g} %"


def share(found: Estimate | None) -> str:
    """Return a share with its interval: `81.2 % (79.0 to 83.2)`."""
    if found is None:
        return NOTHING
    return f"{found.value * 100:.1f} % ({found.low * 100:.1f} to {found.high * 100:.1f})"


def area(found: Estimate | None) -> str:
    """Return an area with its interval: `0.912 (0.903 to 0.920)`."""
    return NOTHING if found is None else f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def difference(found: Difference | None, *, points: bool) -> str:
    """Return a difference with its interval, of shares in percentage points."""
    if found is None:
        return NOTHING
    size, digits, unit = (100, 1, " points") if points else (1, 3, "")
    value, low, high = (f"{one * size:+.{digits}f}" for one in (found.value, found.low, found.high))
    return f"{value}{unit} ({low} to {high}), p {chance(found.p)}"


def chance(p: float) -> str:
    """Return a probability: `= 0.021`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def threshold(at: float | None) -> str:
    """Return a threshold; a dash if none is high enough."""
    return NOTHING if at is None else f"{at:.6g}"


def thresholds(every: Figures, calibrated_on: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield each threshold, where it comes from, and what it flags: first those of the texts' own negatives.

    The others are known beforehand: from the files `calibrated_on`, or given.
    """
    for own in every.at_shares:
        origin = f"at most {percent(own.target)} of these texts"
        yield threshold(own.threshold), origin, share(own.recall), percent(own.flagged)
    files = ", ".join(calibrated_on)
    for one in every.at_thresholds:
        origin = "--threshold" if one.target is None else f"at most {percent(one.target)} of {files}"
        yield threshold(one.threshold), origin, share(one.recall), share(one.flagged)


def warnings(result: Result) -> Iterator[str]:
    """Yield the reasons to doubt the figures."""
    for plan in result.plans:
        if not plan.complete:
            yield (
                f"Interrupted: the figures of '{plan.profile}' are those of {plan.checked:,} of {result.texts:,} texts, in"
                " random order."
            )
        for rail in plan.by_rail:
            for error, count in rail.errors.items():
                yield (
                    f"The rail '{rail.rail}' of '{plan.profile}' failed on {count:,} texts ({error}): they are in no other"
                    " figure."
                )
    yield from _too_few(result.plans[0])


def notes(result: Result) -> Iterator[str]:
    """Yield what is odd about the texts."""
    if result.left_out:
        yield f"Left out: {result.left_out:,} texts with labels of neither side."
    if result.repeated:
        yield (
            f"Repeated: {result.repeated:,} texts stand there before,"
            f" {result.contradicted:,} of them with another label."
        )


def _too_few(plan: PlanResult) -> Iterator[str]:
    side = plan.all.negatives
    count = side.texts - side.failed
    for one in plan.all.at_shares:
        if count and one.target * count < 1:
            yield (
                f"{percent(one.target)} of {count:,} texts without fault is less than one text: the threshold"
                " is above all of them, and depends on a single one."
            )
        elif count and one.threshold is None:
            yield (
                f"More than {percent(one.target)} of the texts without fault have the highest score, so no"
                " threshold flags so few: recall is 0 there."
            )
