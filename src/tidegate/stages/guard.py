"""The stage `guard`: the input rails that take longer than rules. They run tier by tier while the call has its place.

With `race: true` the stage lets the call go on at once, and leaves a gate: nothing of the answer is released before the
rails have passed the request (`stages/release.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable

from tidegate.call import Call
from tidegate.rails.checking import Limits
from tidegate.rails.plan import Plan
from tidegate.rails.review import Review
from tidegate.stages.railed import Railed, settled
from tidegate.stages.screen import NO_RAILS, foretold
from tidegate.types import Reply


class Guard:
    """Runs the slow input rails of the caller's profile."""

    def __init__(self, railed: Railed) -> None:
        self._railed = railed

    def __call__(self, call: Call) -> Awaitable[Reply | None] | None:
        """Wait for the rails, or begin the race. Returns the reply to a blocked request. Raises Blocked."""
        checks = call.checks
        if checks is None or not checks.plan.input_checks:
            return None
        plan = checks.plan
        review = self._railed.request(call, plan, self._railed.texts(call, plan))
        if plan.races:
            checks.gate = call.exit.task(self._checked(call, plan, review), name=f"guard {call.id}")
            return None
        return self._checked(call, plan, review)

    async def _checked(self, call: Call, plan: Plan, review: Review) -> Reply | None:
        now = self._railed.clock()
        limits = Limits(now + plan.budget_for(review.chars), now + plan.judge_budget_s)
        await review.checks(plan.input_checks, limits)
        return await settled(self._railed.requested(call, plan, review))

    def foretell(self, call: Call) -> str:
        """Say which rails check the request, and whom they ask. None of them is asked."""
        if call.checks is None:
            return NO_RAILS
        plan = call.checks.plan
        return foretold(plan, plan.input_checks)
