"""The texts of a report: the verdict, the warnings, and the main figures at the top."""

from __future__ import annotations

from typing import Literal

import msgspec

from tidegate.ops.load.report.compare import labels, value
from tidegate.ops.load.report.numbers import duration, listed, number, with_unit
from tidegate.ops.load.result import Check, Result, Step

_TOLD = 3


class Verdict(msgspec.Struct, frozen=True):
    """The outcome. `kind` selects the colour, `word` is the headline, and `sentence` the reason."""

    kind: Literal["passed", "failed", "unjudged"]
    word: str
    sentence: str


class Tile(msgspec.Struct, frozen=True):
    """One of the figures at the top, with its meaning and the step where it was measured."""

    name: str
    figure: str
    where: str


def verdict(result: Result) -> Verdict:
    """Return the verdict: passed, or which criterion was missed at which step."""
    names = labels(result.steps)
    if not result.steps:
        return Verdict(
            "failed" if not result.passed else "unjudged", "Nothing was measured", "No step was run."
        )
    checked = [check for step in result.steps for check in step.checks]
    if not checked:
        kind = "unjudged" if result.passed else "failed"
        return Verdict(
            kind, "Measured" if result.passed else "Failed", "No criteria were applied to this result."
        )
    missed = [
        f"at {name} {listed([said(check) for check in step.checks if check.passed is False])}"
        for step, name in zip(result.steps, names, strict=True)
        if any(check.passed is False for check in step.checks)
    ]
    held = held_up_to(result.steps)
    upto = f"Every criterion held up to {names[held - 1]}." if held else "No step kept every criterion."
    if missed:
        more = f"; {len(missed) - _TOLD} more steps below" if len(missed) > _TOLD else ""
        return Verdict("failed", "Failed", f"{_capital('; '.join(missed[:_TOLD]))}{more}. {upto}")
    if not result.passed:
        return Verdict("failed", "Failed", "The run ended before every criterion could be judged.")
    steps = f"at all {len(names)} steps, up to {names[-1]}" if len(names) > 1 else f"at {names[0]}"
    return Verdict("passed", "Passed", f"Every criterion that could be judged held {steps}.")


def unjudged(result: Result) -> str:
    """Return which criteria could not be judged, and why. Returns an empty text if all were judged."""
    found = {
        f"{check.name}: {check.note or 'no value'}"
        for s in result.steps
        for check in s.checks
        if check.passed is None
    }
    return f"Not judged: {'; '.join(sorted(found))}." if found else ""


def warnings(result: Result) -> list[str]:
    """Return the reasons to doubt the figures. The report shows them first."""
    found: list[str] = []
    if result.interrupted:
        found.append("The run was interrupted: the figures cover what had been sent until then.")
    ill = [
        f"at {name} {step.health.why or 'it was not well'}"
        for step, name in zip(result.steps, labels(result.steps), strict=True)
        if step.health.degraded
    ]
    if ill or result.degraded:
        why = f" ({'; '.join(ill)})" if ill else ""
        found.append(
            f"The load tester itself was at its limit{why}. "
            "These figures measure the tester as much as the server: run it with less load or on a less busy machine."
        )
    return found


def health(result: Result) -> str:
    """Describe the state of the load tester in a sentence."""
    steps = [step for step in result.steps if step.health.cpu or step.health.lag_max_ms]
    if not steps:
        return "The result does not have the state of the tester."
    cpu, lag = max(s.health.cpu for s in steps), max(s.health.lag_p99_ms for s in steps)
    most = max(s.health.lag_max_ms for s in steps)
    return (
        f"The tester used at most {cpu * 100:.0f} % of a core; it was late by {with_unit(lag, 'ms')} (p99) "
        f"in its worst step, by {with_unit(most, 'ms')} at most."
    )


def tiles(result: Result) -> list[Tile]:
    """Return the three or four most important figures."""
    steps, names = result.steps, labels(result.steps)
    if not steps:
        return []
    found: list[Tile] = []
    held = held_up_to(steps)
    if any(step.checks for step in steps):
        where = f"of {len(steps)} levels of load" if len(steps) > 1 else "the only level of load"
        found.append(Tile("Criteria held up to", names[held - 1] if held else "no load", where))
    at = max(held - 1, 0) if held else len(steps) - 1
    for metric, name in (("time_to_first_token", "TTFT p95"), ("inter_token_latency", "ITL p95")):
        figure = value(steps[at], metric, "p95")
        if figure is not None:
            found.append(Tile(name, with_unit(figure, "ms"), f"at {names[at]}"))
    found += _most(steps, names)
    total, failed = sum(s.requests for s in steps), sum(sum(s.errors.values()) for s in steps)
    share = f"{number(failed / total * 100)} % failed" if failed and total else "none failed"
    took = duration(sum(step.duration_s for step in steps))
    found.append(Tile("Requests", number(total), f"{share}, in {took}"))
    return found


def held_up_to(steps: list[Step]) -> int:
    """Return how many steps, counted from the first, kept every criterion that could be judged."""
    kept = [any(c.passed for c in s.checks) and all(c.passed is not False for c in s.checks) for s in steps]
    return kept.index(False) if False in kept else len(kept)


def said(check: Check) -> str:
    """Return the result of a criterion in words: `TTFT p95 2,340 ms (wanted < 2000 ms)`."""
    wanted = f" (wanted {check.wanted})" if check.wanted else ""
    found = with_unit(check.value, check.unit) if check.value is not None else "not measured"
    return f"{check.name} {found}{wanted}"


def what_it_was(result: Result) -> str:
    """Return the model and the kind of load for the title: `SmolLM2 at 1, 2, 4 and 8 users`."""
    of = result.model or "a server"
    for unit, amounts in (
        ("users", [s.users for s in result.steps]),
        ("req/s", [s.rate_per_s for s in result.steps]),
    ):
        known = [number(amount) for amount in amounts if amount is not None]
        if known and len(known) == len(amounts):
            return f"{of} at {listed(known)} {'user' if (unit, known) == ('users', ['1']) else unit}"
    return f"{of} at {listed(labels(result.steps))}" if 0 < len(result.steps) <= 6 else of


def _most(steps: list[Step], names: list[str]) -> list[Tile]:
    for metric, name, unit in (
        ("output_token_throughput", "Most output", "tok/s"),
        ("request_throughput", "Most requests", "req/s"),
    ):
        known = [(v, i) for i, step in enumerate(steps) if (v := value(step, metric, "avg")) is not None]
        if known and max(known)[0] > 0:
            most, at = max(known)
            return [Tile(name, with_unit(most, unit), f"at {names[at]}")]
    return []


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
