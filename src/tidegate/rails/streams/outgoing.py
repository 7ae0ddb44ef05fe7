"""One answer of an engine on its way out: what the output rails of a plan check of it, and what they have decided.

Of a stream, rails that find spans see each text as it arrives (`window.py`), and the others see passages. The whole answer
is checked at once if it is not streamed, or if one of the rails needs all of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tidegate.forms.leaves import leaves, with_leaves
from tidegate.ports import Clock
from tidegate.rails.checking import Limits, add_finding
from tidegate.rails.objections import Objection
from tidegate.rails.plan import Plan, cut_of, stream_rules
from tidegate.rails.redact import Placeholders
from tidegate.rails.review import Review
from tidegate.rails.step import Step
from tidegate.rails.streams.judging import Judging
from tidegate.rails.streams.lane import Found, SpanRail
from tidegate.rails.streams.passages import Followed, Passage
from tidegate.rails.streams.reads import Reads
from tidegate.rails.streams.stops import Stops
from tidegate.rails.streams.watching import RailFailed
from tidegate.rails.streams.window import STOP_CHANNELS, Window
from tidegate.types import Action, Batch, Finding, Piece, Surface, Text, Where

_RESTORED = "placeholders"
Steps = tuple[Sequence[Step], Sequence[Step]]
"""Rules, and rails of the tiers above."""
Begin = Callable[[Sequence[Text], str], Review]
"""Begins a review of texts of the answer, behind a context that was checked before."""


class Outgoing:
    """One answer. `stopped` is the finding that has ended it, and `last` the last piece that the engine has sent.

    `judging` has the passages of a stream that slow rails judge, if there are such rails. They leave with `ruled`.
    `has_ended` says that the engine has said everything.
    """

    def __init__(  # noqa: PLR0913
        self,
        plan: Plan,
        form: Reads,
        clock: Clock,
        begin: Begin,
        *,
        hashed: Callable[[str], str],
        stream: bool,
        choices: int = 1,
        hidden: Placeholders | None = None,
    ) -> None:
        """`begin` begins a review. `choices` is how many the client has asked for.

        `hashed` returns the keyed hash of a text. `hidden` has what the placeholders in the answer stand for.
        """
        self.stopped: Finding | None = None
        self.last: Piece | None = None
        self._plan = plan
        self._form = form
        self._clock = clock
        self._begin = begin
        self._hashed = hashed
        self._hidden = hidden
        self._findings: dict[str, Finding] = {}
        self._changed: set[int] = set()
        self._choices = choices
        self._followed: Mapping[Where, Followed] = {}
        """Passages that wait for what follows, where rails mask passages."""
        self._referred: list[tuple[Review, Callable[[], Batch]]] = []
        """Reviews that wait for people, and what lets their texts go."""
        self.judging = Judging() if stream and plan.output_checks else None
        self.has_ended = False
        self._told = 0
        self._has_told = False
        self._has_stops = bool(plan.profile.stop)
        self._all: Steps = plan.output_rules, plan.output_checks
        self._others = self._all
        self._spans: Sequence[Step] = ()
        self._shows_first = plan.profile.stream_first
        self._masks = False
        self._window = self._for_stream(plan, form) if stream else None

    def _for_stream(self, plan: Plan, form: Reads) -> Window:
        """Tell apart the rails that see each text as it arrives, and return the window for them."""
        steps = plan.output_rules + plan.output_checks
        if not any(step.whole for step in steps):
            self._spans = [step for step in steps if step.scans]
        self._others = self._unscanned(plan.output_rules), self._unscanned(plan.output_checks)
        self._masks = not self._shows_first and any(step.rewrites for each in self._others for step in each)
        if self._masks:
            self._followed = defaultdict(partial(Followed, cut_of(plan.profile.passages).context_chars))
        rules = plan.streams or stream_rules(steps, plan.profile, self._note_failure)
        if hidden := self._hidden:
            rules = rules.restoring(SpanRail(_RESTORED, "restore", hidden.scanner, hidden.value))
        return Window(rules, self._put, form.ended)

    def _unscanned(self, steps: Sequence[Step]) -> Sequence[Step]:
        return [step for step in steps if step not in self._spans]

    @property
    def is_over(self) -> bool:
        """Whether the engine has nothing more to say, because stop strings have ended all choices."""
        return self._window is not None and len(self._window.stopped) >= self._choices

    @property
    def is_ruled(self) -> bool:
        """Whether no passage waits for its ruling."""
        return self.judging is None or self.judging.first is None

    @property
    def is_done(self) -> bool:
        """Whether the engine has ended, and nothing waits for its ruling."""
        return self.has_ended and self.is_ruled

    @property
    def referred(self) -> list[Objection]:
        """The texts that people have to decide about. They are held until `resume`."""
        return [one for review, _ in self._referred for one in review.referred]

    def resume(self) -> Batch:
        """Return what people have let go."""
        referred, self._referred = self._referred, []
        return [piece for _, let_go in referred for piece in let_go()]

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

    def passed(self, batch: Batch) -> int:
        """Take the first pieces of a batch that leave at once as they are. Returns how many; the others were not taken.

        These are the usual events of a stream, each with one text that concerns no rail, and the usual whole answer.
        """
        if self._changed or self._has_stops or self.stopped is not None:
            return 0
        window = self._window
        count = 0
        for piece in batch:
            if window is None:
                if not self._passes_at_once(piece):
                    break
            elif (text := self._form.known_text(piece)) is None or not window.passes(piece, text):
                break
            count += 1
            self.last = piece
        return count

    async def take(self, batch: Batch) -> Batch:
        """Take a batch of the engine. Returns what may leave now. Raises UnknownShape for text that no rail can check."""
        if batch:
            self.last = batch[-1]
        window = self._window
        if window is None:
            whole = [piece for one in batch for piece in await self._whole(one)]
            return whole if self.stopped is None else []
        out: Batch = []
        try:
            for piece in batch:
                out += self._fed(window, piece)
        except RailFailed as failed:
            return self._fail(failed, out)
        if window.blocked is not None:
            return self._block(window.blocked, out)
        return out + await self._judged(window) if window.holds or self._shows_first else out

    def _fed(self, window: Window, piece: Piece) -> Batch:
        if self._changed:
            piece = self._form.without_echoes(piece, self._changed)
        return window.feed(piece, self._form.texts_out(piece))

    async def finish(self) -> Batch:
        """Take the end of the engine's answer. Returns what was still held and may leave now."""
        window, self.has_ended = self._window, True
        if window is None:
            return []
        out: Batch = []
        try:
            out = window.finish()
        except RailFailed as failed:
            return self._fail(failed, out)
        if window.blocked is not None:
            return self._block(window.blocked, out)
        out += await self._judged(window)
        return out + self._rest(window)

    async def ruled(self) -> Batch:
        """Wait for the ruling on the first passage that is judged. Returns what leaves for it."""
        assert self._window is not None, "only passages of streams are judged"
        assert self.judging is not None, "the caller has looked"
        passages, review = await self.judging.take()
        return self._rule(self._window, passages, review) + self._rest(self._window)

    # -- reviews -------------------------------------------------------------------------------------------------------

    async def _whole(self, piece: Piece) -> Batch:
        """Check an answer that is not streamed."""
        texts = self._form.texts_out(piece)
        changed = self._cut_at_stops(texts) if self._plan.profile.stop else {}
        ended = {where.at for where in changed}
        texts = [one._replace(value=changed.get(one.where, one.value)) for one in texts] if ended else texts
        review = await self._reviewed(texts, self._all)
        self._take(review)
        let_go = partial(self._let_whole_go, piece, texts, changed, review)
        return self._unless_referred(review, let_go)

    def _let_whole_go(
        self, piece: Piece, texts: Sequence[Text], changed: dict[Where, str], review: Review
    ) -> Batch:
        ended = {where.at for where in changed}
        changed = {**changed, **review.changed()}
        if self._hidden:
            for text in texts:
                value = changed.get(text.where, text.value)
                if (restored := self._restored(value, is_json=text.is_json)) != value:
                    changed[text.where] = restored
        piece = self._form.put_out(piece, changed) if changed else piece
        for choice in ended:
            piece = self._form.ended(piece, choice)
        return [piece]

    def _unless_referred(self, review: Review, let_go: Callable[[], Batch]) -> Batch:
        """Return what may leave after a review; nothing as long as people have to decide."""
        if self.stopped is None and review.referred:
            self._referred.append((review, let_go))
            return []
        return let_go()

    def _passes_at_once(self, piece: Piece) -> bool:
        """Return whether one look at the texts of a whole answer is enough, as it is for most."""
        plan, look = self._plan, self._plan.output_look
        if look is None or plan.output_checks or self._has_stops or self._hidden:
            return False
        found = look.passed(self._form.texts_out(piece), plan.output_rules, self._clock)
        for one in found or ():
            self._merge(one)
        return found is not None

    def _cut_at_stops(self, texts: Sequence[Text]) -> dict[Where, str]:
        """Return the texts that have a stop string, up to the first one: the engine would have said no more."""
        changed: dict[Where, str] = {}
        for text in texts:
            if text.where.channel in STOP_CHANNELS:
                value, is_cut = Stops(self._plan.profile.stop).feed(text.value, last=True)
                if is_cut:
                    changed[text.where] = value
        return changed

    async def _judged(self, window: Window) -> Batch:
        """Let rails judge the passages that are complete. Returns what leaves now; the others leave with `ruled`."""
        passages = window.to_check()
        whole = [one for one in passages if one.whole]
        # A whole answer is one review, so that a rail sees all of its texts, or none, as they are.
        out = await self._judge(window, whole, self._all) if whole else []
        for passage in passages:
            if self.stopped is not None:
                break
            if not passage.whole:
                context = self._followed[passage.where].before(passage) if self._masks else passage.context
                out += await self._judge(window, [passage], self._others, context)
        return out if self.stopped is None else []

    async def _judge(
        self, window: Window, passages: Sequence[Passage], steps: Steps, context: str = ""
    ) -> Batch:
        """Let rails judge passages: at once if all of them are rules, else while the stream goes on."""
        begin = partial(self._reviewed, [_text(one) for one in passages], steps, context)
        if self.judging is None:
            return self._rule(window, passages, await begin())
        self.judging.add(passages, begin)
        return []

    def _rule(self, window: Window, passages: Sequence[Passage], review: Review) -> Batch:
        """Take the review of passages. Returns what leaves for it."""
        self._take(review)
        if self.stopped is not None:
            self._findings[self.stopped.rail].shown_chars += sum(map(window.shown_of, passages))
            window.decide(passages[0], blocked_by=self.stopped.rail)
            return []
        first = passages[0]
        if first.whole or not self._masks:
            return self._unless_referred(review, partial(self._let_all_go, window, passages, review))
        # No mask can reach any more what leaves behind this passage.
        text = review.changed().get(first.where, first.text)
        leaving = self._followed[first.where].add(first, text, kept=len(review.context))
        return [piece for one, value in leaving for piece in self._let_go(window, one, value)]

    def _rest(self, window: Window) -> Batch:
        """Return what has waited for text that follows, once all is ruled on and none does."""
        if not self.is_done:
            return []
        leaving = [ruled for followed in self._followed.values() for ruled in followed.finish()]
        return [piece for one, text in leaving for piece in self._let_go(window, one, text)]

    def _let_all_go(self, window: Window, passages: Sequence[Passage], review: Review) -> Batch:
        changed, out = review.changed(), list[Piece]()
        for passage in passages:
            out += self._let_go(window, passage, changed.get(passage.where, passage.text))
        return out

    def _let_go(self, window: Window, passage: Passage, text: str) -> Batch:
        return window.decide(passage, text=self._restored(text, is_json=passage.is_json))

    def _restored(self, text: str, *, is_json: bool) -> str:
        """Return a text that was checked with the values instead of their placeholders."""
        hidden = self._hidden
        if hidden is None or not is_json:
            return text if hidden is None else hidden.restored(text)
        values = [(leaf, hidden.restored(leaf.value)) for leaf in leaves(text)]
        return with_leaves(text, {leaf.path: value for leaf, value in values if value != leaf.value})

    async def _reviewed(self, texts: Sequence[Text], steps: Steps, context: str = "") -> Review:
        """Check texts with some rules and some rails of the tiers above."""
        plan, now, (rules, checks) = self._plan, self._clock(), steps
        review = self._begin(texts, context)
        limits = Limits(now + plan.budget_for(review.chars), now + plan.judge_budget_s)
        if rules:
            await review.rules_in_turns(rules, until=limits.until)
        if checks and review.stopped is None:
            await review.checks(checks, limits)
        return review

    def _take(self, review: Review) -> None:
        """Take in what a review has found."""
        for one in review.findings:
            self._merge(one)
        self.stopped = review.stopped

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
            finding.hashed = self._hashed(found.text)
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
            add_finding(known, one)


def _text(passage: Passage) -> Text:
    return Text(passage.where, Surface.OUTPUT, passage.text, is_json=passage.is_json)
