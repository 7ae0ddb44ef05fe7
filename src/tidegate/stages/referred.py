"""Lets people decide about the texts of a call to which rails with `on_fail: review` have objected.

The call waits, and holds no seat of an engine meanwhile: a request waits before it gets one, and an answer after its engine
has ended.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tidegate.call import Call
from tidegate.errors import Overloaded
from tidegate.ports import Clock, Reviewer, Wall
from tidegate.rails.objections import Objection
from tidegate.rails.plan import Plan
from tidegate.stages.demanded import EDITED, note_outcome
from tidegate.types import Action, Case, Decision, Finding
from tidegate.types.case import EDIT

HEADER = b"x-tidegate-review"
"""The header that names the cases of a call with what was decided, such as `case_5f0c9a4b7d21;approve`."""
OPEN = "open"
NONE = b"none;full"
"""What the header says where nobody was asked, since as many cases are open as may be."""
_ID_BYTES = 10


class Refused(NamedTuple):
    """A text does not leave: the finding that is to blame, and the words for the client if they are not the profile's."""

    finding: Finding
    words: str = ""


class People:
    """Makes cases of objections, waits for the decisions and carries them out."""

    def __init__(self, reviewer: Reviewer | None, clock: Clock, wall: Wall) -> None:
        """`reviewer` is None where no rail of the configuration asks people."""
        self._reviewer = reviewer
        self._clock = clock
        self._wall = wall

    async def decide(
        self, call: Call, plan: Plan, objections: Sequence[Objection], question: str
    ) -> Refused | None:
        """Wait for people. Returns None if all texts may leave, after changing those that people have edited.

        Raises Overloaded if the cases cannot be stored.
        """
        reviewer = self._reviewer
        if reviewer is None:
            raise Overloaded("No person can be asked: the section `review` is not in force")
        if call.when_asked is not None:
            call.when_asked()  # the client of a stream gets keep-alive comments from now on
        wait_s = max(min(reviewer.wait_s, call.deadline - self._clock()), 0.0)
        made = [self._case(call, plan, one, question, wait_s) for one in objections]
        outcome = await reviewer.decide(made, until=self._clock() + wait_s)
        decisions = [outcome.decisions.get(case.id) for case in made]
        call.reply_headers.append((HEADER, NONE if outcome.full else _told(made, outcome.decisions)))
        if not outcome.passed:
            finding = _blamed(objections, decisions)
            finding.action = Action.BLOCK
            return Refused(finding, reviewer.notice.replace("{case}", outcome.later) if outcome.later else "")
        for one, decision in zip(objections, decisions, strict=True):
            if decision is not None and decision.action == EDIT:
                one.put(decision.text)
                if call.demand is not None and call.demand.outcome:  # the answer is edited, not the request
                    note_outcome(call, call.demand, EDITED)
        return None

    def _case(self, call: Call, plan: Plan, one: Objection, question: str, wait_s: float) -> Case:
        now = self._wall()
        return Case(
            f"case_{secrets.token_hex(_ID_BYTES)}",
            call.id,
            now,
            now + wait_s,
            one.finding.surface.value,
            one.finding.rail,
            one.category,
            one.score,
            _clean(question),
            _clean(one.read()),
            call.policy.name,
            call.model,
            call.caller.key,
            one.where.at,
            _clean(one.place),
            tuple(one.others),
            plan.name,
        )


def _blamed(objections: Sequence[Objection], decisions: Sequence[Decision | None]) -> Finding:
    """Return the finding of the first text that does not leave."""
    return next(
        (
            one.finding
            for one, decision in zip(objections, decisions, strict=True)
            if decision is None or not decision.releases
        ),
        objections[0].finding,
    )


def _told(cases: Sequence[Case], decisions: Mapping[str, Decision]) -> bytes:
    told = [f"{case.id};{decisions[case.id].action if case.id in decisions else OPEN}" for case in cases]
    return ", ".join(told).encode()


def _clean(text: str) -> str:
    """Return a text without halves of surrogate pairs, which are no text in JSON."""
    return text.encode("utf-8", "replace").decode()
