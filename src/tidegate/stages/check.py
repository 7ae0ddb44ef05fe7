"""The stage `check`: the rails of a profile on the texts of a request, for a client that wants to know what they say.

It takes the place of all stages behind `limit` in the pipeline of `POST /v1/checks`. No engine is asked, nor a person, and
no permit is needed. A prompt is checked as the prompt of a call would be, and an answer as the answer of an engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import msgspec

from tidegate.call import Call
from tidegate.errors import BadRequest
from tidegate.kernel.nearest import nearest
from tidegate.rails.checking import Decision, Limits
from tidegate.rails.plan import Plan
from tidegate.rails.review import Review
from tidegate.rails.step import Step
from tidegate.rails.units import REQUEST
from tidegate.stages.narrowing import take_profile
from tidegate.stages.railed import Railed
from tidegate.types import Action, Answer, Batch, CheckRequest, Piece, Reply, Surface, Text, Where

_ENCODER = msgspec.json.Encoder()
_NO_ANSWER = Answer()


class FoundSpan(msgspec.Struct, frozen=True):
    """A part of a text that a rail found, from `start` up to, but not including, `end`, in characters."""

    start: int
    end: int
    kind: str
    score: float


class RailVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a rail objected to in one text, and what happened to the text for it.

    `where` is the place of the text in the request, such as `messages[0].content`. The spans are those of the text as the
    rail saw it: rails that came before may have changed it. `error` says how the rail failed, if it did.
    """

    rail: str
    action: str
    surface: str
    where: str
    category: str
    score: float
    spans: tuple[FoundSpan, ...]
    error: str = ""


class CheckResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a check.

    `status` is `passed`, `modified` or `blocked`. `content` is what was checked as it should be: the answer, or else the
    input, or else the text of the last message; of a blocked request it is the refusal. A text that a person would have to
    decide about is blocked: a check makes no case, so nobody would ever decide. `rail` is the rail with the most
    severe action, and null if no rail objected. `messages` are those of the request, as they should be.
    """

    status: str
    content: Any
    rail: str | None
    verdicts: list[RailVerdict]
    messages: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


class CheckTexts:
    """Runs the rails of the caller's profile, or of a stricter one that the request names."""

    def __init__(self, railed: Railed) -> None:
        self._railed = railed

    async def __call__(self, call: Call) -> Reply:
        """Check the texts. Raises BadRequest, which names the field, for a request that cannot be checked."""
        request = call.request
        assert isinstance(request, CheckRequest), "the endpoint has no other requests"
        plan = _plan(call, request)
        texts = self._railed.texts(call, plan)
        told = _Verdicts()
        changed = blocked = False
        for review, rules, checks in self._reviews(call, plan, texts, told):
            await self._run(plan, review, rules, checks)
            self._railed.note(call, review.findings)
            blocked = blocked or review.stopped is not None or bool(review.referred)
            if review.stopped is not None:
                break
            changed = changed or bool(review.changed())
            self._railed.put(call, review)
        if blocked:
            return own_reply(CheckResult("blocked", plan.profile.refusal, told.rail, told.verdicts))
        messages = msgspec.UNSET if request.messages is None else [one.raw for one in call.messages]
        status = "modified" if changed else "passed"
        return own_reply(CheckResult(status, _content(call, request), told.rail, told.verdicts, messages))

    def _reviews(
        self, call: Call, plan: Plan, texts: Sequence[Text], told: _Verdicts
    ) -> Iterator[tuple[Review, Sequence[Step], Sequence[Step]]]:
        """Begin the review of the prompt, and then that of the answer, each with its rails.

        The prompt has its changes by then, so that the rails of the answer see it as an engine would have.
        """
        prompt = [text for text in texts if text.surface is not Surface.OUTPUT]
        answer = [text for text in texts if text.surface is Surface.OUTPUT]
        if any(text.where != REQUEST for text in prompt):
            review = self._railed.check(call, prompt, plan.input_look, told.add)
            yield review, plan.input_rules, plan.input_checks
        if answer:
            review = self._railed.check(call, answer, plan.output_look, told.add)
            yield review, plan.output_rules, plan.output_checks

    async def _run(self, plan: Plan, review: Review, rules: Sequence[Step], checks: Sequence[Step]) -> None:
        now = self._railed.clock()
        limits = Limits(now + plan.budget_for(review.chars), now + plan.judge_budget_s)
        await review.rules_in_turns(rules, until=limits.until)
        if checks and review.stopped is None:
            await review.checks(checks, limits)


class _Verdicts:
    """The verdicts of one check. `rail` is the rail with the most severe action."""

    def __init__(self) -> None:
        self.verdicts: list[RailVerdict] = []
        self.rail: str | None = None
        self._worst = Action.PASS

    def add(self, step: Step, text: Text, decision: Decision) -> None:
        verdict, action = decision.verdict, decision.action
        if action is Action.PASS:
            return
        if action > self._worst:
            self._worst, self.rail = action, step.name
        spans = tuple(FoundSpan(one.start, one.end, one.kind, round(one.score, 4)) for one in verdict.spans)
        self.verdicts.append(
            RailVerdict(
                step.name,
                action.word,
                text.surface.value,
                _place(text.where),
                verdict.category,
                round(verdict.score, 4),
                spans,
                verdict.error,
            )
        )


def _plan(call: Call, request: CheckRequest) -> Plan:
    """Return the rails for a check. Raises BadRequest for a request that has a wrong field or nothing to check."""
    check_fields(call, CheckRequest)
    given = [name for name in ("input", "messages") if getattr(request, name) is not None]
    if len(given) > 1:
        raise BadRequest("Send the field 'input' or the field 'messages', not both", param="input")
    if not given and request.answer is None:
        raise BadRequest("There is nothing to check: send 'input', 'messages' or 'answer'", param="input")
    if request.input == []:
        raise BadRequest("The field 'input' is empty: send a text, or a list of texts", param="input")
    allowed = ", ".join(call.policy.stricter) or "none"
    if request.profile is not None and not take_profile(call, request.profile):
        raise BadRequest(
            f"The field 'profile' names no profile that the policy allows: send one of {allowed}, or leave it out",
            param="profile",
        )
    if call.checks is None:
        raise BadRequest(
            f"Your policy checks nothing by itself: send the field 'profile' (allowed: {allowed}), or ask the operator to"
            " set `rails` in the policy",
            param="profile",
        )
    return call.checks.plan


def _content(call: Call, request: CheckRequest) -> Any:
    """Return what was checked, as it is now."""
    for name in ("answer", "input"):
        if getattr(request, name) is not None:
            return msgspec.json.decode(call.fields[name])
    return call.messages[-1].content


def _place(where: Where) -> str:
    """Return the name of a place: that of a field, or of a text in a message."""
    if where.at < 0:
        return where.channel
    return f"messages[{where.at}].{where.channel}"


def check_fields(call: Call, request: type[msgspec.Struct]) -> None:
    """Raise BadRequest for a field that a type of requests does not have."""
    known = request.__struct_fields__
    if unknown := call.fields.keys() - set(known):
        name = min(unknown)[:40]
        meant = nearest(name, known)
        hint = f"did you mean '{meant}'?" if meant else f"there are: {', '.join(known)}"
        raise BadRequest(f"The field '{name}' is not known here; {hint}", param=name)


def own_reply(result: msgspec.Struct) -> Reply:
    """Return the reply with a result of the gateway's own."""
    return Reply(_only([Piece(_ENCODER.encode(result), _NO_ANSWER)]))


async def _only(batch: Batch) -> AsyncIterator[Batch]:
    yield batch
