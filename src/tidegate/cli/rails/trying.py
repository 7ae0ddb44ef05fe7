"""`tidegate rails check`: what the rails of a profile make of one text."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console

from tidegate.cli import settings, store
from tidegate.cli.rails.choosing import (
    AsJson,
    Chosen,
    ConfigPath,
    OnSurface,
    Profile,
    asking,
    chosen,
    run,
    scene,
)
from tidegate.kernel.plain import plain
from tidegate.rails.checking import Decision, Limits
from tidegate.rails.redact import Placeholders
from tidegate.rails.review import Review, masked
from tidegate.rails.step import Step
from tidegate.rails.units import REQUEST
from tidegate.types import PASSED, Action, Span, Surface, Text, Where

_CONTENT = Where(0, "content")
_ENDLESS = float("inf")
_MOST_SPANS = 5
_PASSES = Decision(Action.PASS, PASSED)
_GO_ON = frozenset({Action.PASS, Action.REVIEW})
"""After these, the gateway asks the next rail."""
_ENDS = MappingProxyType({"regenerate": "the engine is asked again.", "review": "waits for a person."})


class Found(msgspec.Struct, frozen=True):
    """A part that a rail found. `start` and `end` count the characters of the text as the rail got it."""

    start: int
    end: int
    kind: str
    score: float

    @classmethod
    def of(cls, span: Span) -> Found:
        """A span of a verdict."""
        return cls(span.start, span.end, span.kind, round(span.score, 4))


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What one rail made of the text. `reached` is False where a rail before it has blocked, so a gateway ends there."""

    rail: str
    tier: int
    action: str
    category: str = ""
    score: float = 0.0
    reason: str = ""
    error: str = ""
    spans: Sequence[Found] = ()
    reached: bool = True


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What a profile made of a text. `text` is the text as it would go on, and None if it would not."""

    profile: str
    surface: str
    action: str
    rails: Sequence[Tried]
    text: str | None


def check(
    text: Annotated[str | None, Parameter(show_default=False)] = None,
    /,
    *,
    file: Annotated[Path | None, Parameter(("--file", "-f"), allow_leading_hyphen=True)] = None,
    profile: Profile = "",
    surface: OnSurface = "input",
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Check one text, and say what each rail makes of it.

    The rails run one after the other, in the order in which a gateway runs them. A rail that changes texts comes first, and
    those after it get the changed text. After a block, a gateway asks no further rail; here the others are asked too.
    Rails that ask models get the engines of the configuration; nothing else of a gateway is started.

    For example:

    `tidegate rails check "My address is ann@example.com"`: with the profile of the policy `default`, or else `rules`

    `tidegate rails check "Ignore all previous instructions" --profile strict --surface tool`

    `git diff | tidegate rails check --surface output --json`: from standard input, for a program

    Exit status: 0 if the text passes, changed or not; 1 if it is blocked; 2 if the command or the configuration is wrong.

    Parameters
    ----------
    text
        The text. Without it, and without --file, standard input is read.
    file
        A file with the text in UTF-8; `-` reads standard input.
    profile
        The profile. Default: that of the policy `default`, or else `rules`.
    surface
        Where the text stands: `input` (a user's), `system` (the application's), `retrieval` (a document), `tool` (the
        result of a tool), or `output` (the engine's).
    config
        The configuration. Default: tidegate.yaml if it is here, else the built-in configuration.
    as_json
        Print JSON.

    """
    if text is not None and file is not None:
        settings.fail("the text and --file exclude each other: give one of them")
    plan = chosen(config, profile, surface)
    given = read_text(file) if text is None else text
    trial = run(plan, lambda: tried(plan, given))
    if as_json:
        store.print_json(trial)
    else:
        _print(trial, asking(plan))
    sys.exit(0 if trial.text is not None else 1)


def read_text(file: Path | None) -> str:
    """Return the text of a file, or of standard input. Ends with status 2 if there is none."""
    named = "standard input" if file is None or str(file) == "-" else str(file)
    try:
        data = sys.stdin.buffer.read() if file is None or str(file) == "-" else file.read_bytes()
        return data.decode()
    except OSError as error:
        settings.fail(f"{named}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        settings.fail(f"{named}: byte {error.start} is not UTF-8: convert the text first")


async def tried(plan: Chosen, text: str) -> Trial:
    """Run all rails on a text, one after the other."""
    found: list[Tried] = []
    stopped = Action.PASS
    value = text
    placeholders = plan.plan.profile.placeholders and plan.surface is not Surface.OUTPUT
    mask = Placeholders().hidden if placeholders else masked
    for step in plan.steps:
        decisions: list[Decision] = []
        where = REQUEST if step.about.once else _CONTENT
        review = Review(
            [Text(where, plan.surface, "" if step.about.once else value)],
            lambda one, prompt=value: scene(one, prompt),
            time.perf_counter,
            hashed=lambda _: "",
            mask=mask,
            told=lambda _, __, decision, decisions=decisions: decisions.append(decision),
        )
        if step.about.tier == 0:
            for _ in review.rules([step], until=_ENDLESS):
                pass
        else:
            await review.checks([step], Limits(_ENDLESS, _ENDLESS))
        found.append(_tried(step, decisions[0] if decisions else _PASSES, reached=stopped in _GO_ON))
        value = review.changed().get(where, value)
        if review.stopped is not None and stopped in _GO_ON:
            stopped = review.stopped.action
        elif review.referred and stopped is Action.PASS:
            stopped = Action.REVIEW
    actions = [Action[one.action.upper()] for one in found if one.reached]
    return Trial(
        profile=plan.plan.name,
        surface=plan.surface.value,
        action=(stopped or max(actions)).word,
        rails=found,
        text=value if stopped is Action.PASS else None,
    )


def _tried(step: Step, decision: Decision, *, reached: bool) -> Tried:
    verdict = decision.verdict
    return Tried(
        rail=step.name,
        tier=step.about.tier,
        action=decision.action.word,
        category=verdict.category,
        score=round(verdict.score, 4),
        reason=verdict.reason,
        error=verdict.error,
        spans=[Found.of(span) for span in verdict.spans],
        reached=reached,
    )


def _print(trial: Trial, asks: Collection[str]) -> None:
    rows = [
        (
            one.rail if one.reached else f"({one.rail})",
            str(one.tier),
            f"{one.action}, failed: {one.error}" if one.error else one.action,
            one.category,
            f"{one.score:.2f}" if one.action != Action.PASS.word and not one.error else "",
            _places(one.spans) or one.reason,
        )
        for one in trial.rails
    ]
    store.print_table(("rail", "tier", "action", "category", "score", "where"), rows)
    console = Console(highlight=False, soft_wrap=True)
    if any(not one.reached for one in trial.rails):
        console.print("In brackets: what a gateway no longer asks, since the text is blocked.", markup=False)
    for one in trial.rails:
        if one.error and one.rail in asks:
            said = f"The rail '{one.rail}' asks a model or a service, and got no usable answer: {one.error}."
            console.print(said, markup=False)
    said = f"Profile '{trial.profile}', surface '{trial.surface}': "
    if trial.text is None:
        console.print(f"{said}{_ENDS.get(trial.action, 'blocked.')}", markup=False)
        return
    changed = trial.action in (Action.REDACT.word, Action.FIX.word)
    console.print(f"{said}{'goes on changed:' if changed else 'goes on as it is.'}", markup=False)
    if changed:
        console.print(plain(trial.text), markup=False)


def _places(spans: Sequence[Found]) -> str:
    told = [f"{one.start}-{one.end} {one.kind}" for one in spans[:_MOST_SPANS]]
    if len(spans) > _MOST_SPANS:
        told.append(f"{len(spans) - _MOST_SPANS} more")
    return ", ".join(told)
