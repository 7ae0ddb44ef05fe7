"""The rails of a guard, ready to check texts. It is made once and never changes, so threads may share it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from tidegate.guard.checked import Blocked, Checked
from tidegate.rails.checking import Decision, Limits
from tidegate.rails.objections import Objection
from tidegate.rails.plan import Plan
from tidegate.rails.review import Review
from tidegate.rails.signs import Look
from tidegate.rails.step import ENDLESS_S, Step
from tidegate.rails.streams.outgoing import Outgoing
from tidegate.rails.units import WHOLE_REQUEST
from tidegate.types import (
    PASSED,
    Action,
    Answer,
    Batch,
    Caller,
    Choice,
    Finding,
    Piece,
    Scene,
    Surface,
    Text,
    Verdict,
    Where,
)

_WHERE = Where(0, "content")
_ROLES = {Surface.INPUT: "user", Surface.SYSTEM: "system", Surface.TOOL: "tool"}
_ORDER = (Surface.INPUT, Surface.OUTPUT, Surface.RETRIEVAL, Surface.TOOL, Surface.SYSTEM)
_CHARS_PER_TOKEN = 4
_NOBODY = Caller()
_ONE_CHOICE = Answer(choices=[Choice()])


class Line(NamedTuple):
    """The rails that check a text as one of a surface."""

    surface: Surface
    rules: tuple[Step, ...]
    checks: tuple[Step, ...]
    look: Look | None
    has_requests: bool


class Lineup:
    """The rails of one profile. `raises` are the names of those that end a check with `Blocked`."""

    def __init__(self, plan: Plan, raises: frozenset[str]) -> None:
        self.plan = plan
        self.raises = raises
        self._lines: dict[Surface | None, tuple[Line, ...]] = {
            one: _lines([(one, step) for step in _steps(plan, one)]) for one in Surface
        }
        self._lines[None] = _lines([(_first(step), step) for step in dict.fromkeys(plan.steps)])

    def waits(self, surface: Surface | None) -> bool:
        """Return whether a check has to wait for rails that take longer than rules."""
        return any(line.checks for line in self._of(surface))

    def check(self, text: str, surface: Surface | None, question: str) -> Checked:
        """Check a text by rules alone. Raises Blocked, and ValueError if no rail checks texts of the surface."""
        state = _State(self, text, question)
        for line in self._of(surface):
            review = state.review(line)
            for _ in review.rules(line.rules, until=ENDLESS_S):
                pass
            if state.take(review):
                break
        return state.checked()

    async def acheck(self, text: str, surface: Surface | None, question: str) -> Checked:
        """Check a text by all rails. Long texts are checked in turns. Raises what `check` raises."""
        state = _State(self, text, question)
        for line in self._of(surface):
            review = state.review(line)
            await review.rules_in_turns(line.rules, until=ENDLESS_S)
            if line.checks and review.stopped is None:
                await review.checks(line.checks, self._limits(len(text)))
            if state.take(review):
                break
        return state.checked()

    async def acheck_many(
        self, texts: Iterable[str], surface: Surface | None, question: str
    ) -> Sequence[Checked]:
        """Check texts side by side. Returns the results in their order. Raises what `check` raises."""
        return await asyncio.gather(*(self.acheck(text, surface, question) for text in texts))

    def stream(self, source: AsyncIterable[str], question: str, refusal: str) -> AsyncGenerator[str, None]:
        """Return what may leave of a stream. See `Guard.stream`."""
        if not self.plan.profile.stop:
            self._of(Surface.OUTPUT)
        return self._stream(source, question, refusal)

    async def _stream(
        self, source: AsyncIterable[str], question: str, refusal: str
    ) -> AsyncGenerator[str, None]:
        state = _State(self, "", question)
        out = Outgoing(self.plan, PlainTexts(), time.monotonic, state.begin, hashed=_not_hashed, stream=True)
        try:
            async for text in source:
                for said in _said(await out.take([Piece(_encoded(text), _ONE_CHOICE)])):
                    yield said
                for said in _said(await _ruled(out)):
                    yield said
                if out.stopped is not None or out.referred or out.is_over:
                    break
            else:
                for said in _said(await out.finish() + await _ruled(out)):
                    yield said
        finally:
            if out.judging is not None and (closing := out.judging.close()) is not None:
                await closing
            if isinstance(source, AsyncGenerator):
                await source.aclose()
        stopped = out.stopped or _first_referred(out.referred)
        if stopped is None:
            return
        if refusal != "say":
            raise Blocked(state.blocked(stopped, out.told()))
        words = self.plan.profile.refusal
        yield f"\n\n{words}" if out.shown_chars else words

    def _limits(self, chars: int) -> Limits:
        now = time.monotonic()
        return Limits(now + self.plan.budget_for(chars), now + self.plan.judge_budget_s)

    def _of(self, surface: Surface | None) -> tuple[Line, ...]:
        lines = self._lines[surface]
        if not lines:
            others = sorted({one.value for step in self.plan.steps for one in step.surfaces})
            named = "any text" if surface is None else f"the surface '{surface.value}'"
            raise ValueError(
                f"no rail of this guard checks {named}; they check: {', '.join(others) or 'nothing'}"
            )
        return lines


class _State:
    """One check: the text as it is now, and what the rails have said of it."""

    def __init__(self, lineup: Lineup, text: str, question: str) -> None:
        self._lineup = lineup
        self._text = text
        self._question = question
        self._findings: list[Finding] = []
        self._action = Action.PASS
        self._rail = ""
        self._verdict = PASSED
        self._stopped = False

    def review(self, line: Line) -> Review:
        """Begin the review of the text by the rails of a line."""
        texts = [Text(_WHERE, line.surface, self._text, _ROLES.get(line.surface, ""))]
        if line.has_requests:
            texts.append(WHOLE_REQUEST)
        return self._review(texts, line.look, "")

    def begin(self, texts: Sequence[Text], context: str) -> Review:
        """Begin the review of passages of a stream."""
        return self._review(texts, self._lineup.plan.output_look, context)

    def take(self, review: Review) -> bool:
        """Take the result of a review. Returns whether it has ended the check.

        A text that a person would have to decide about does not pass, since nobody is there to ask. The other rails still
        check it, as in a gateway.
        """
        self._findings += review.findings
        self._text = review.changed().get(_WHERE, self._text)
        self._stopped = self._stopped or review.stopped is not None or bool(review.referred)
        return review.stopped is not None

    def checked(self) -> Checked:
        """Return the result. Raises Blocked if the rail that has stopped the text demands it."""
        text = "" if self._stopped else self._text
        found = Checked(
            not self._stopped, self._action, text, tuple(self._findings), self._rail, _reason(self._verdict)
        )
        if self._stopped and self._rail in self._lineup.raises:
            raise Blocked(found)
        return found

    def blocked(self, stopped: Finding, others: Sequence[Finding]) -> Checked:
        """Return the result for a stream that a rail has stopped."""
        findings = (stopped, *(one for one in others if one is not stopped))
        reason = stopped.error or (_reason(self._verdict) if stopped.rail == self._rail else stopped.category)
        return Checked(False, stopped.action, "", findings, stopped.rail, reason)

    def _review(self, texts: Sequence[Text], look: Look | None, context: str) -> Review:
        return Review(
            texts,
            self._scene,
            time.monotonic,
            hashed=_not_hashed,
            context=context,
            look=look,
            told=self._tell,
        )

    def _scene(self, text: Text) -> Scene:
        tokens = len(self._text) // _CHARS_PER_TOKEN if text is WHOLE_REQUEST else -1
        return Scene(
            text.where, text.surface, _NOBODY, ENDLESS_S, text.role, self._question, prompt_tokens=tokens
        )

    def _tell(self, step: Step, text: Text, decision: Decision) -> None:
        del text
        if decision.action > self._action:
            self._action, self._rail, self._verdict = decision.action, step.name, decision.verdict


class PlainTexts:
    """Reads and changes pieces that are plain text. Satisfies `rails.reads.Reads`."""

    def texts_out(self, piece: Piece) -> list[Text]:
        return [Text(_WHERE, Surface.OUTPUT, piece.data.decode("utf-8", "surrogatepass"))]

    def known_text(self, piece: Piece) -> Text:
        return self.texts_out(piece)[0]

    def put_out(self, piece: Piece, changed: Mapping[Where, str]) -> Piece:
        return Piece(_encoded(changed[_WHERE]), piece.answer)

    def without_echoes(self, piece: Piece, choices: Collection[int]) -> Piece:
        del choices
        return piece

    def ended(self, piece: Piece, choice: int) -> Piece:
        del choice
        return piece


def _lines(placed: Sequence[tuple[Surface, Step]]) -> tuple[Line, ...]:
    """Return a line for each surface that rails check, in the order in which a text passes them."""
    lines: list[Line] = []
    for surface in _ORDER:
        steps = [step for at, step in placed if at is surface]
        if steps:
            rules = tuple(step for step in steps if step.about.tier == 0)
            checks = tuple(step for step in steps if step.about.tier > 0)
            whole = any(step.about.once for step in steps)
            # A rule by itself looks for its signs itself.
            look = Look.of(rules) if len(rules) > 1 else None
            lines.append(Line(surface, rules, checks, look, whole))
    return tuple(lines)


def _steps(plan: Plan, surface: Surface) -> list[Step]:
    """Return the rails that check texts of a surface, in the order of the plan."""
    if surface is Surface.OUTPUT:
        return [*plan.output_rules, *plan.output_checks]
    return [step for step in (*plan.input_rules, *plan.input_checks) if surface in step.surfaces]


def _first(step: Step) -> Surface:
    return next(one for one in _ORDER if one in step.surfaces)


def _first_referred(referred: Sequence[Objection]) -> Finding | None:
    """Return the first finding that a person would have to decide about, or None."""
    return referred[0].finding if referred else None


def _reason(verdict: Verdict) -> str:
    return verdict.error or verdict.reason or verdict.category


async def _ruled(out: Outgoing) -> Batch:
    """Wait for all rulings. Returns what leaves for them."""
    batch: Batch = []
    while not out.is_ruled and out.stopped is None:
        batch += await out.ruled()
    return batch


def _said(batch: Batch) -> list[str]:
    return [piece.data.decode("utf-8", "surrogatepass") for piece in batch if piece.data]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _not_hashed(text: str) -> str:
    del text
    return ""
