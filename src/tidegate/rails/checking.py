"""Runs one rail on one text, and decides what happens to the text.

A rail that raises, takes too long, or returns something else than a verdict has failed. What happens then is its
`on_error`: nothing passes because of an exception.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from tidegate.ports import Check, Rule, TextViews
from tidegate.rails.step import Step
from tidegate.types import PASSED, Action, Scene, Span, Verdict

T = TypeVar("T")

log = logging.getLogger(__name__)


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


def ruled(step: Step, views: TextViews, scene: Scene) -> Verdict:
    """Return the verdict of a rule. A rule that fails is replaced by its fallback, if that is a rule as well."""
    rule = cast("Rule", step.rail)
    try:
        found: Any = rule.check(views, scene)
    except Exception as error:  # noqa: BLE001  (a rail may come from anyone and raise anything)
        found = _failed(step, error)
    if found is PASSED:
        return PASSED
    verdict = _sound(step, found, len(views.original))
    if verdict.error and step.fallback is not None and step.fallback.about.tier == 0:
        return ruled(step.fallback, views, scene)
    return verdict


def attempted(work: Callable[[], T], failed: Callable[[Exception], T]) -> T:
    """Return what `work` returns, or what `failed` does for its exception. Rails come from anyone and raise anything."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001
        return failed(error)


async def checked(step: Step, views: TextViews, scene: Scene, *, within_s: float) -> Verdict:
    """Return the verdict of a rail of any tier, which has `within_s` seconds at the most."""
    if step.about.tier == 0:
        return ruled(step, views, scene)
    if within_s <= 0:
        verdict = Verdict(passed=False, error="the budget was used up")
    else:
        verdict = _sound(step, await _checked(step, views, scene, within_s), len(views.original))
    if verdict.error and step.fallback is not None:
        return await checked(step.fallback, views, scene, within_s=within_s)
    return verdict


async def _checked(step: Step, views: TextViews, scene: Scene, within_s: float) -> Any:
    check = cast("Check", step.rail)
    try:
        async with asyncio.timeout(min(within_s, step.timeout_s)):
            # `gather` returns exceptions: a rail may come from anyone and raise anything.
            (verdict,) = await asyncio.gather(check.check(views, scene), return_exceptions=True)
    except TimeoutError:
        return Verdict(passed=False, error="took too long")
    return _failed(step, verdict) if isinstance(verdict, BaseException) else verdict


def _failed(step: Step, error: BaseException) -> Verdict:
    # The message of the exception may quote the text, so only its type is told.
    log.error("the rail '%s' failed with %s", step.name, type(error).__name__)
    return Verdict(passed=False, error=f"raised {type(error).__name__}")


def _sound(step: Step, verdict: Any, length: int) -> Verdict:
    """Return a verdict that can be acted on: what a rail returns instead of one is an error of the rail."""
    if verdict is PASSED:
        return PASSED
    wrong = _wrong(verdict, length)
    if not wrong:
        return verdict
    log.error("the rail '%s' returned no usable verdict: %s", step.name, wrong)
    return Verdict(passed=False, error=wrong)


def _wrong(verdict: Any, length: int) -> str:
    if not isinstance(verdict, Verdict):
        return f"returned {type(verdict).__name__} instead of a verdict"
    if type(verdict.passed) is not bool or not isinstance(verdict.error, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        return "returned a verdict of wrong types"
    if verdict.text is not None and type(verdict.text) is not str:
        return "returned a corrected text that is no text"
    for span in verdict.spans:
        if not 0 <= span.start < span.end <= length:
            return "returned a span that is not in the text"
    return ""
