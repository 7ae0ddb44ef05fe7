"""The stage `screen`: the input rails that are rules. They check a request before it may wait, or be answered from a cache.

Texts of usual length are checked at once. Long ones are checked in slices, and other calls get a turn between them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Sequence

from tidegate.call import Call
from tidegate.ports import Opened
from tidegate.rails.plan import Plan, Step
from tidegate.rails.refusing import blocked
from tidegate.rails.review import Review
from tidegate.rails.step import ENDLESS_S
from tidegate.stages.railed import Railed, settled
from tidegate.types import Action, Finding, Reply

NO_RAILS = "no rails"
"""What is foretold where nothing is checked."""


class Screen:
    """Runs the rules of the caller's profile on a request."""

    def __init__(self, railed: Railed) -> None:
        self._railed = railed

    def __call__(self, call: Call) -> Reply | Awaitable[Reply | None] | None:
        """Change the texts that rails change. Returns the reply to a blocked request.

        Raises Blocked, and BadRequest for a request whose texts cannot be read.
        """
        checks = call.checks
        if checks is None or not checks.plan.input_rules:
            return None
        plan, railed = checks.plan, self._railed
        texts = railed.texts(call, plan)
        if railed.passes_at_once(call, plan, texts):
            return None
        review = railed.request(call, plan, texts)
        turns = review.rules(plan.input_rules, until=railed.clock() + plan.budget_for(review.chars))
        if review.is_long:
            return self._in_turns(call, plan, review, turns)
        for _ in turns:
            pass
        return railed.requested(call, plan, review)

    async def _in_turns(self, call: Call, plan: Plan, review: Review, turns: Generator[None]) -> Reply | None:
        for _ in turns:
            await asyncio.sleep(0)
        return await settled(self._railed.requested(call, plan, review))

    def foretell(self, call: Call) -> str:
        """Check the request as the stage does, and say what each rule makes of it. Raises Blocked, and BadRequest.

        Rules are pure, so nothing but the texts of the call changes.
        """
        checks = call.checks
        if checks is None or not checks.plan.input_rules:
            return NO_RAILS
        review = self._railed.request(call, checks.plan, self._railed.texts(call, checks.plan))
        for _ in review.rules(checks.plan.input_rules, until=ENDLESS_S):
            pass
        if review.stopped is not None:
            raise blocked(checks.plan.profile.refusal, review.stopped)
        self._railed.note(call, review.findings)
        self._railed.put(call, review)
        return f"profile '{checks.plan.name}': {_outcomes(review.findings)}"


def foretold(plan: Plan, steps: Sequence[Step]) -> str:
    """Name rails of a plan with what they do, and with the model or service that they ask, which is not asked now."""
    asks = plan.asks
    told: list[str] = []
    for one in steps:
        asked = f"the model '{asks[one.name]}'" if one.name in asks else "a service"
        said = f", asks {asked}" if isinstance(one.rail, Opened) else ""
        told.append(f"{one.name} ({one.on_fail.word}{said})")
    return ", ".join(told) or NO_RAILS


def _outcomes(findings: Sequence[Finding]) -> str:
    """Name each rail with what it found, and on which surface."""
    found = [
        f"{one.rail} {one.action.word} ({one.error or one.category}, {one.surface.value})"
        for one in findings
        if one.action is not Action.PASS
    ]
    return ", ".join(found) or "every rail lets it pass"
