"""One answer of an engine on its way out: what the output rails of a plan check of it, and what they have decided.

Of a stream, rails that find spans see each text as it arrives (`window.py`), and the others see passages. The whole answer
is checked at once if it is not streamed, or if one of the rails needs all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tidegate.forms import Form
from tidegate.forms.leaves import leaves, with_leaves
from tidegate.ports import Clock
from tidegate.rails.checking import Limits
from tidegate.rails.lane import Found, SpanRail
from tidegate.rails.passages import Passage
from tidegate.rails.plan import Plan, stream_rules
from tidegate.rails.redact import Placeholders
from tidegate.rails.review import Review
from tidegate.rails.step import Step
from tidegate.rails.stops import Stops
from tidegate.rails.watching import RailFailed
from tidegate.rails.window import STOP_CHANNELS, Window
from tidegate.types import Action, Batch, Finding, Piece, Surface, Text, Where

_RESTORED = "placeholders"
Begin = Callable[[Sequence[Text], str], Review]
"""Begins a review of texts of the answer, behind a context that was checked before."""


class Outgoing:
    """One answer. `stopped` is the finding that has ended it, and `last` the last piece that the engine has sent."""

    def __init__(
        self,
        plan: Plan,
        form: Form,
        clock: Clock,
        begin: Begin,
        *,
        stream: bool,
        hidden: Placeholders | None = None,
    ) -> None:
        """`begin` begins a review. `hidden` has what the placeholders in the answer stand for."""
        self.stopped: Finding | None = None
        self.last: Piece | None = None
        self._plan = plan
        self._form = form
        self._clock = clock
        self._begin = begin
        self._hidden = hidden
        self._findings: dict[str, Finding] = {}
        self._changed: set[int] = set()
        self._choices: set[int] = set()
        self._late: list[Passage] = []
        """Passages that were shown before their ruling, with `stream_first`."""
        self._told = 0
        self._has_told = False
        self._has_stops = bool(plan.profile.stop)
        steps = plan.output_rules + plan.output_checks
        is_whole = not stream or any(step.whole for step in steps)
        self._spans = [] if is_whole else [step for step in steps if step.scans]
        self._others = [step for step in steps if step not in self._spans]
        self._all = steps
        self._window: Window | None = None
        if stream:
            rules = plan.streams or stream_rules(steps, plan.profile, self._note_failure)
            if hidden:
                rules = rules.restoring(SpanRail(_RESTORED, "restore", hidden.scanner, hidden.value))
            self._window = Window(rules, self._put, form.ended)

    @property
    def is_over(self) -> bool:
        """Whether the engine has nothing more to say, because stop strings have ended all choices that it has begun."""
        window = self._window
        return window is not None and bool(window.stopped) and window.stopped == self._choices

    @property
    def shown_chars(self) -> int:
        """How many characters of text have left."""
        return 0 if self._window is None else self._window.shown

    def told(self) -> list[Finding]:
        """Return one finding for each rail, those that passed included. Later ones are told by the next call."""
        if self._window is not None:
            for one in self._window.found[self._told :]:
                self._note(one)
            self._told = len(self._window.found)
        if not self._has_told:
            self._has_told = True
            for step in self._spans:
                self._finding(step)
        found = list(self._findings.values())
        self._findings.clear()
        return found

    def passes(self, batch: Batch) -> bool:
        """Take a batch if it leaves at once as it is. Returns False if it was not taken.

        This is the usual event of a stream: one piece, with one text that concerns no rail.
        """
        window = self._window
        if window is None or len(batch) != 1 or self._changed or self._late or self._has_stops:
            return False
        if self.stopped is not None:
            return False
        piece = batch[0]
        text = self._form.known_text(piece)
        if text is None or not window.passes(piece, text):
            return False
        self.last = piece
        return True

    async def take(self, batch: Batch) -> Batch:
        """Take a batch of the engine. Returns what may leave. Raises UnknownShape for text that no rail can check."""
        if batch:
            self.last = batch[-1]
        window = self._window
        if window is None:
            return [piece for piece in [await self._whole(piece) for piece in batch] if self.stopped is None]
        if self._late:
            await self._judge_late(window)
        if self.stopped is not None:
            return []
        out: Batch = []
        try:
            for piece in batch:
                out += self._fed(window, piece)
        except RailFailed as failed:
            return self._fail(failed, out)
        if window.blocked is not None:
            return self._block(window.blocked, out)
        return out + await self._judged(window) if window.holds else out

    def _fed(self, window: Window, piece: Piece) -> Batch:
        if self._changed:
            piece = self._form.without_echoes(piece, self._changed)
        if self._plan.profile.stop:
            self._choices.update(choice.index for choice in piece.answer.choices or ())
        return window.feed(piece, self._form.texts_out(piece))

    async def finish(self) -> Batch:
        """Take the end of the engine's answer. Returns what was still held and may leave."""
        window = self._window
        if window is None:
            return []
        if self._late:
            await self._judge_late(window)
        if self.stopped is not None:
            return []
        try:
            out = window.finish()
        except RailFailed as failed:
            return self._fail(failed, [])
        if window.blocked is not None:
            return self._block(window.blocked, out)
        out += await self._judged(window)
        if self._late:
            await self._judge_late(window)
        return out

    # -- reviews -------------------------------------------------------------------------------------------------------

    async def _whole(self, piece: Piece) -> Piece:
        """Check an answer that is not streamed."""
        texts = self._form.texts_out(piece)
        review = await self._reviewed(texts, self._all)
        changed = {**review.changed()}
        if self._hidden:
            for text in texts:
                value = changed.get(text.where, text.value)
                if (restored := self._restored(value, is_json=text.is_json)) != value:
                    changed[text.where] = restored
        ended = self._cut_at_stops(texts, changed) if self._plan.profile.stop else ()
        piece = self._form.put_out(piece, changed) if changed else piece
        for choice in ended:
            piece = self._form.ended(piece, choice)
        return piece

    def _cut_at_stops(self, texts: Sequence[Text], changed: dict[Where, str]) -> set[int]:
        """End texts before the first stop string. Returns the choices that end there."""
        ended: set[int] = set()
        for text in texts:
            if text.where.channel in STOP_CHANNELS:
                value, is_cut = Stops(self._plan.profile.stop).feed(
                    changed.get(text.where, text.value), last=True
                )
                if is_cut:
                    changed[text.where] = value
                    ended.add(text.where.at)
        return ended

    async def _judged(self, window: Window) -> Batch:
        """Rule on the passages that are complete. Returns what leaves for it."""
        passages = window.to_check()
        whole = [one for one in passages if one.whole]
        out: Batch = []
        if whole:
            # A whole answer is one review, so that a rail sees all of its texts, or none, as they are.
            review = await self._reviewed([_text(one) for one in whole], self._all)
            out += self._rule(window, whole, review)
        others = [one for one in passages if not one.whole]
        if self._plan.profile.stream_first:
            self._late, others = others, []
        for passage in others:
            if self.stopped is None:
                review = await self._reviewed([_text(passage)], self._others, passage.context)
                out += self._rule(window, [passage], review)
        return out if self.stopped is None else []

    async def _judge_late(self, window: Window) -> None:
        """Rule on the passages that were shown before their ruling."""
        late, self._late = self._late, []
        for passage in late:
            if self.stopped is None:
                review = await self._reviewed([_text(passage)], self._others, passage.context)
                self._rule(window, [passage], review)

    def _rule(self, window: Window, passages: Sequence[Passage], review: Review) -> Batch:
        if self.stopped is not None:
            window.decide(passages[0], blocked_by=self.stopped.rail)
            return []
        changed, out = review.changed(), list[Piece]()
        for passage in passages:
            text = changed.get(passage.where)
            if self._hidden:
                text = self._restored(passage.text if text is None else text, is_json=passage.is_json)
            out += window.decide(passage, text=text)
        return out

    def _restored(self, text: str, *, is_json: bool) -> str:
        """Return a text that was checked with the values instead of their placeholders."""
        hidden = self._hidden
        if hidden is None or not is_json:
            return text if hidden is None else hidden.restored(text)
        values = [(leaf, hidden.restored(leaf.value)) for leaf in leaves(text)]
        return with_leaves(text, {leaf.path: value for leaf, value in values if value != leaf.value})

    async def _reviewed(self, texts: Sequence[Text], steps: Sequence[Step], context: str = "") -> Review:
        plan, now = self._plan, self._clock()
        review = self._begin(texts, context)
        rules = [step for step in steps if step.about.tier == 0]
        checks = [step for step in steps if step.about.tier > 0]
        limits = Limits(now + plan.budget_for(review.chars), now + plan.judge_budget_s)
        await review.rules_in_turns(rules, until=limits.until)
        if checks and review.stopped is None:
            await review.checks(checks, limits)
        for one in review.findings:
            self._merge(one)
        self.stopped = review.stopped
        return review

    # -- what rails have found -----------------------------------------------------------------------------------------

    def _put(self, piece: Piece, changed: Mapping[Where, str]) -> Piece:
        self._changed.update(where.at for where in changed)
        return self._form.put_out(piece, changed)

    def _fail(self, failed: RailFailed, out: Batch) -> Batch:
        finding = self._finding(failed.step)
        finding.action, finding.error, finding.count = Action.BLOCK, failed.error, finding.count + 1
        self.stopped = finding
        return out

    def _note_failure(self, step: Step, error: str) -> None:
        finding = self._finding(step)
        finding.action, finding.error = max(finding.action, Action.LOG), error
        finding.count += 1

    def _block(self, found: Found, out: Batch) -> Batch:
        self.stopped = self._note(found, Action.BLOCK)
        return out

    def _note(self, found: Found, action: Action | None = None) -> Finding:
        step = next((one for one in self._spans if one.name == found.rail), None)
        finding = self._findings.get(found.rail)
        if finding is None:
            version = "" if step is None else step.about.version
            finding = self._findings[found.rail] = Finding(found.rail, version, Surface.OUTPUT)
        finding.count += not found.span.goes_on
        action = action or (step.on_fail if step is not None else Action.LOG)
        if action > finding.action:
            finding.action, finding.category, finding.score = action, found.span.kind, found.span.score
        return finding

    def _finding(self, step: Step) -> Finding:
        finding = self._findings.get(step.name)
        if finding is None:
            finding = Finding(step.name, step.about.version, Surface.OUTPUT)
            self._findings[step.name] = finding
        return finding

    def _merge(self, one: Finding) -> None:
        known = self._findings.setdefault(one.rail, one)
        if known is not one:
            known.count, known.took_s = known.count + one.count, known.took_s + one.took_s
            if one.action > known.action:
                known.action, known.category, known.score = one.action, one.category, one.score
                known.hashed = one.hashed
            known.error = known.error or one.error


def _text(passage: Passage) -> Text:
    return Text(passage.where, Surface.OUTPUT, passage.text, is_json=passage.is_json)
