"""Runs one rail on one text, and decides what happens to the text.

A rail that raises, takes too long, or returns something else than a verdict has failed. What happens then is its
`on_error`: nothing passes because of an exception.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from tidegate.errors import DeadlineExceeded, UpstreamTimeout
from tidegate.ports import Check, Clock, Rule, TextViews
from tidegate.rails.abandoned import Abandoned
from tidegate.rails.foreign import attempted, awaited
from tidegate.rails.sound import wrong_with
from tidegate.rails.step import Step
from tidegate.types import PASSED, Action, Finding, Scene, Span, Verdict

log = logging.getLogger(__name__)
JUDGE_TIER = 2
LATE = Verdict(passed=False, error="the budget was used up")
"""The verdict of a rail that did not get its turn."""
TOO_LONG = Verdict(passed=False, error="took too long")
"""The verdict of a rail that did not give one in its time."""


class Decision(NamedTuple):
    """What happens to a text: the action, the verdict that decided, and the text as it should be, if it changes."""

    action: Action
    verdict: Verdict
    text: str | None = None


Mask = Callable[[str, Sequence[Span]], str]
"""A function that returns a text with some of its parts masked."""


def decided(step: Step, verdict: Verdict, text: str, mask: Mask) -> Decision:
    """Return what happens to a text, by the settings of the rail that has checked it.

    A verdict without the spans or the corrected text that its action needs blocks the text.
    """
    if verdict.error:
        return Decision(Action.BLOCK if step.closed else Action.LOG, verdict)
    if verdict.passed:
        return Decision(Action.PASS, verdict)
    if step.on_fail is Action.REDACT and verdict.spans:
        return Decision(Action.REDACT, verdict, mask(text, verdict.spans))
    if step.on_fail is Action.FIX and verdict.text is not None:
        return Decision(Action.FIX, verdict, verdict.text)
    return Decision(Action.BLOCK if step.rewrites else step.on_fail, verdict)


class Limits(NamedTuple):
    """Until when rails may run, in seconds of the clock: those of the tiers 0 and 1, and those of tier 2."""

    until: float
    judges_until: float

    def of(self, step: Step) -> float:
        """Return the limit of one rail."""
        return self.judges_until if step.about.tier >= JUDGE_TIER else self.until

    def end_of(self, step: Step, now: float) -> float:
        """Return when a check of one rail that begins now has to end."""
        return min(self.of(step), now + step.timeout_s)


NoteFailure = Callable[[Step, Scene, str], None]
"""A function that is told which rail has failed with a text, and how, when another rail decides in its place."""


def ruled(step: Step, views: TextViews, scene: Scene, failed: NoteFailure) -> Verdict:
    """Return the verdict of a rule. A rule that fails is replaced by its fallback."""
    rule = cast("Rule", step.rail)
    found: Any = attempted(partial(rule.check, views, scene), partial(_failed, step))
    if found is PASSED:
        return PASSED
    verdict = _sound(step, found, len(views.original))
    if verdict.error and step.fallback is not None:
        failed(step, scene, verdict.error)
        return ruled(step.fallback, views, scene, failed)
    return verdict


async def checked(  # noqa: PLR0913
    step: Step,
    views: TextViews,
    scene: Scene,
    failed: NoteFailure,
    clock: Clock,
    limits: Limits,
    *,
    abandoned: Abandoned,
) -> Verdict:
    """Return the verdict of a rail of any tier. The fallback of a rail above the rules is left to the caller.

    A check that is late, or whose verdict is not needed any more, is left to `abandoned`.
    """
    if step.about.tier == 0:
        return ruled(step, views, scene, failed)
    within_s = limits.of(step) - clock()
    if within_s <= 0:
        return LATE
    if step.is_punctual:
        found = await awaited(cast("Check", step.rail).check(views, scene), partial(_failed, step))
    else:
        found = await _checked(step, views, scene, within_s, abandoned)
    return _sound(step, found, len(views.original))


async def _checked(step: Step, views: TextViews, scene: Scene, within_s: float, abandoned: Abandoned) -> Any:
    loop = asyncio.get_running_loop()
    check = loop.create_task(_work(cast("Check", step.rail), views, scene), name=f"rail {step.name}")
    # asyncio.wait does the same for any number of tasks, and costs twice as much.
    over = loop.create_future()
    late = loop.call_later(min(within_s, step.timeout_s), _end, over)
    check.add_done_callback(partial(_end, over))
    try:
        await over
    except asyncio.CancelledError:
        abandoned.leave(check, step.name)
        raise
    finally:
        late.cancel()
    if not check.done():
        abandoned.leave(check, step.name)
        return TOO_LONG
    error = asyncio.CancelledError() if check.cancelled() else check.exception()
    return check.result() if error is None else _failed(step, error)


def _end(wait: asyncio.Future[None], _: object = None) -> None:
    if not wait.done():
        wait.set_result(None)


async def _work(check: Check, views: TextViews, scene: Scene) -> Any:
    """Run a check within its task, so that all that it raises is raised there."""
    return await check.check(views, scene)


def _failed(step: Step, error: BaseException) -> Verdict:
    if isinstance(error, DeadlineExceeded | UpstreamTimeout):
        return TOO_LONG
    # The message of the exception may quote the text, so only its type is told.
    log.error("the rail '%s' failed with %s", step.name, type(error).__name__)
    return Verdict(passed=False, error=f"raised {type(error).__name__}")


def _sound(step: Step, verdict: Any, length: int) -> Verdict:
    """Return a verdict that can be acted on: what a rail returns instead of one is an error of the rail."""
    if verdict is PASSED:
        return PASSED
    wrong = wrong_with(verdict, length)
    if not wrong:
        return verdict
    log.error("the rail '%s' returned no usable verdict: it %s", step.name, wrong)
    return Verdict(passed=False, error=wrong)


def add_finding(known: Finding, more: Finding) -> None:
    """Add a finding to another one of the same rail and surface, as if the texts of both had been checked together."""
    known.count += more.count
    known.took_s += more.took_s
    known.error = known.error or more.error
    if more.action > known.action:
        known.action, known.category = more.action, more.category
        known.score, known.hashed = more.score, more.hashed
