"""One review: the texts of a request or of a whole answer while the rails of a plan check them, one rail after the other.

Rails that change texts come first in a plan, so every later rail sees the changed texts. The first block ends the review.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence

import msgspec

from tidegate.forms.leaves import with_leaves
from tidegate.forms.paths import Path
from tidegate.kernel.text import Views, slices
from tidegate.ports import Clock, InParts, PartReader, TextViews
from tidegate.rails.abandoned import Abandoned
from tidegate.rails.asked.conversation import is_said, is_turn
from tidegate.rails.checking import LATE, Decision, Limits, Mask, checked, decided, ruled
from tidegate.rails.objections import Objection
from tidegate.rails.redact import edited, masks
from tidegate.rails.signs import MOST_CHARS, Look
from tidegate.rails.step import Step
from tidegate.rails.units import Unit, latest, units_of, views_of
from tidegate.types import PASSED, Action, Finding, Message, Scene, Span, Surface, Text, Verdict, Where

SLICE_CHARS = MOST_CHARS
"""A longer text is checked by rules in slices, and other calls get a turn between them."""
SceneOf = Callable[[Text], Scene]
MessagesOf = Callable[[Mapping[Where, str]], Sequence[Message]]
"""A function that returns the messages of the request with changed texts."""
Told = Callable[[Step, Text, Decision], None]
"""A function that is told of each verdict on a text that is not `PASSED`, for those who want more than the findings."""


def masked(text: str, spans: Sequence[Span]) -> str:
    """Return a text with masks instead of spans."""
    return edited(text, masks(spans))


def _no_messages(changed: Mapping[Where, str]) -> Sequence[Message]:
    del changed
    return ()


class Review:
    """The state of one review.

    `stopped` is the finding that ended it; its action is `BLOCK` or `REGENERATE`. Without one, people have to decide about
    the texts in `referred`.
    """

    def __init__(  # noqa: PLR0913
        self,
        texts: Sequence[Text],
        scene: SceneOf,
        clock: Clock,
        *,
        hashed: Callable[[str], str],
        mask: Mask = masked,
        context: str = "",
        look: Look | None = None,
        told: Told | None = None,
        abandoned: Abandoned | None = None,
        escalates: bool = False,
        goes_on: bool = False,
        messages: MessagesOf = _no_messages,
    ) -> None:
        """`scene` returns the scene of a text. `hashed` returns the keyed hash of a text for the audit.

        `context` is the text before the texts, for rails that have to see what stands across. `look` is for the rules that
        can be asked together. `told` is told of each decision about a text that a rail did not pass. `abandoned` gets the
        checks for which nobody waits any more. With `escalates`, people decide where the engine would be asked again. With
        `goes_on`, a block does not end the review, so that every rail says what it makes of the texts.

        `messages` returns the messages of the request, for rails that read them.
        """
        self.stopped: Finding | None = None
        self._referred: list[tuple[Unit, Objection]] = []
        self._escalates = escalates
        self._goes_on = goes_on
        self._messages = messages
        self._clock = clock
        self._hashed = hashed
        self._mask = mask
        self._told = told
        self._scene = scene
        self._look = look
        self._abandoned = abandoned or Abandoned()
        self._findings: dict[tuple[str, Surface], Finding] = {}
        self._units = [unit for text in texts for unit in units_of(text, context)]

    @property
    def findings(self) -> list[Finding]:
        """One finding for each rail and surface that was checked, those that passed included."""
        return list(self._findings.values())

    @property
    def referred(self) -> list[Objection]:
        """The texts that people have to decide about, in the order in which rails have objected to them."""
        return [objection for _, objection in self._referred]

    def changed(self) -> Mapping[Where, str]:
        """Return the changed texts by place, as they should be."""
        found: dict[Where, str] = {}
        inside: dict[Text, dict[Path, str]] = {}
        for unit in self._units:
            if unit.changed and unit.leaf is None:
                found[unit.text.where] = unit.value
            elif unit.changed and unit.leaf is not None:
                inside.setdefault(unit.text, {})[unit.leaf] = unit.value
        for text, parts in inside.items():
            found[text.where] = with_leaves(text.value, parts)
        return found

    @property
    def context(self) -> str:
        """The context without the part in which something begins that was changed in the text behind it."""
        return self._units[0].context if self._units else ""

    @property
    def chars(self) -> int:
        """The length of all texts."""
        return sum(len(unit.value) for unit in self._units)

    @property
    def is_long(self) -> bool:
        """Whether rules should check the texts in turns, so that other calls need not wait."""
        return self.chars > SLICE_CHARS

    def rules(self, steps: Sequence[Step], *, until: float) -> Generator[None]:
        """Run rules. Each step of the iterator is a turn, in which `SLICE_CHARS` characters are checked, or a few more.

        `until` is the time after which no turn begins. Rules that do not get their turn have failed. The first turn is not
        subject to it: rules take microseconds, and only a machine that gives this process no time can make them late.
        """
        look = self._look
        if look is not None and (yield from self._looked(look, steps)):
            return
        turn_chars, late, clock = 0, False, self._clock
        began = clock()
        for step in steps:
            for unit in self._units_of(step):
                size = len(unit.value)
                turn_chars += size
                if turn_chars > SLICE_CHARS:
                    turn_chars = size
                    yield
                    began = clock()
                    late = began >= until
                if late:
                    verdict = LATE
                elif size <= SLICE_CHARS or step.about.entire:
                    verdict = ruled(step, views_of(unit), self._scene_of(unit), self._note_failure)
                else:
                    verdict = yield from self._sliced(step, unit, until)
                    late = clock() >= until
                ended = clock()
                self._take(step, unit, verdict, ended - began)
                began = ended
                if self.stopped is not None:
                    return

    def _looked(self, look: Look, steps: Sequence[Step]) -> Generator[None, None, bool]:
        """Look at the texts for the rules of the look together. Returns whether that was all there is to check."""
        chars, all_quiet, began = 0, True, self._clock()
        for unit in self._units:
            chars += len(unit.value)
            if chars > SLICE_CHARS:
                chars = len(unit.value)
                yield
            unit.quiet = (
                not unit.is_request and chars <= SLICE_CHARS and look.is_quiet(unit.context + unit.value)
            )
            all_quiet = all_quiet and unit.quiet
        signed = [step for step in steps if step in look.steps]
        took_s = (self._clock() - began) / max(len(signed), 1)
        for step in signed:
            for surface in {unit.surface for unit in self._units if unit.quiet} & step.surfaces:
                self._finding(step, surface).took_s += took_s
        return all_quiet and len(signed) == len(steps)

    async def rules_in_turns(self, steps: Sequence[Step], *, until: float) -> None:
        """Run rules, and give other calls a turn between the turns of long texts."""
        for _ in self.rules(steps, until=until):
            await asyncio.sleep(0)

    async def checks(self, steps: Sequence[Step], limits: Limits) -> None:
        """Run the rails above the rules, tier by tier."""
        for step in steps:
            if step.rewrites:
                for unit in self._units_of(step):
                    await self._check(step, unit, limits)
                    if self.stopped is not None:
                        return
        for tier in sorted({step.about.tier for step in steps}):
            others = [step for step in steps if not step.rewrites and step.about.tier == tier]
            await self._at_once(others, limits)
            if self.stopped is not None:
                return

    async def _at_once(self, steps: Sequence[Step], limits: Limits) -> None:
        """Run rails side by side. The first block cancels the others."""
        work = [(step, unit) for step in steps for unit in self._units_of(step)]
        if len(work) == 1:  # a task group has a cost
            await self._check(*work[0], limits)
            return
        try:
            async with asyncio.TaskGroup() as group:
                for step, unit in work:
                    group.create_task(self._check(step, unit, limits, alone=False))
        except* _Stopped:
            pass

    async def _check(self, step: Step, unit: Unit, limits: Limits, *, alone: bool = True) -> None:
        began = self._clock()
        verdict = await self._verdict(step, unit, views_of(unit), limits)
        if self.stopped is None:
            self._take(step, unit, verdict, self._clock() - began)
            if self.stopped is not None and not alone:
                raise _Stopped

    async def _verdict(self, step: Step, unit: Unit, views: TextViews, limits: Limits) -> Verdict:
        """Return the verdict of a rail. One that fails is replaced by its fallback, in the time that is left."""
        scene = self._scene_for(step, unit, limits.end_of(step, self._clock()))
        verdict = await checked(
            step, views, scene, self._note_failure, self._clock, limits, abandoned=self._abandoned
        )
        fallback = step.fallback
        if not verdict.error or fallback is None or step.about.tier == 0:
            return verdict
        self._note_failure(step, scene, verdict.error)
        if not step.about.reads_messages or fallback.about.reads_messages or not is_turn(unit.text):
            return await self._verdict(fallback, unit, views, limits)
        # The fallback sees no messages, so it gets all of their texts. Its places are not those of the text under check.
        whole = Views("\n".join(one.value for one in self._units if is_turn(one.text)))
        verdict = await self._verdict(fallback, unit, whole, limits)
        return msgspec.structs.replace(verdict, spans=(), text=None)

    def _units_of(self, step: Step) -> Sequence[Unit]:
        surfaces, once = step.surfaces, step.about.once
        # An empty text stands for the request, or for a message of images alone.
        may_be_empty = once or step.about.sees_images
        units = [
            unit
            for unit in self._units
            if unit.surface in surfaces and unit.is_request == once and (unit.value or may_be_empty)
        ]
        if self._look is not None and step in self._look.steps:
            return [unit for unit in units if not unit.quiet]
        return latest(units) if step.about.reads_messages else units

    def _scene_for(self, step: Step, unit: Unit, until: float) -> Scene:
        """Return the scene of a text for a check that has to end at a time, with the messages if the rail reads them."""
        scene, about = self._scene_of(unit), step.about
        if not (about.reads_messages or about.punctual):
            return scene
        end = min(scene.deadline, until)
        if not about.reads_messages:
            return msgspec.structs.replace(scene, deadline=end)
        messages, further = self._messages(self.changed()), self._further(unit.text.where.at)
        context = scene.context
        if about.reads_context:  # as rails have changed the documents so far
            context = tuple(one.value for one in self._units if one.surface is Surface.RETRIEVAL) or context
        return msgspec.structs.replace(
            scene, deadline=end, messages=messages, further=further, context=context
        )

    def _further(self, at: int) -> tuple[str, ...]:
        """Return the texts of a message that stand outside of its content."""
        return tuple(
            one.value
            for one in self._units
            if one.text.where.at == at and is_turn(one.text) and not is_said(one.text)
        )

    def _scene_of(self, unit: Unit) -> Scene:
        if unit.scene is None:
            unit.scene = self._scene(unit.text)
        return unit.scene

    def _sliced(self, step: Step, unit: Unit, until: float) -> Generator[None, None, Verdict]:
        """Check a long text slice by slice, and return one verdict on all of it."""
        if step.trusted and isinstance(step.rail, InParts):
            return (yield from self._in_parts(step.rail.reader(self._scene_of(unit)), unit, until))
        worst, spans = PASSED, dict[tuple[int, int, str], Span]()
        for offset, part in slices(unit.value, SLICE_CHARS):
            if offset and self._clock() >= until:
                return LATE
            verdict = ruled(step, Views(part), self._scene_of(unit), self._note_failure)
            for span in verdict.spans:
                start, end = span.start + offset, span.end + offset
                spans[start, end, span.kind] = span._replace(start=start, end=end)
            if verdict.error:
                return verdict
            if (verdict.passed, -verdict.score) < (worst.passed, -worst.score):
                worst = verdict
            yield
        if worst.text is not None:
            return Verdict(passed=False, error="corrected a part of a text")
        return msgspec.structs.replace(worst, spans=tuple(spans.values())) if spans else worst

    def _in_parts(self, reader: PartReader, unit: Unit, until: float) -> Generator[None, None, Verdict]:
        """Let a rule read a long text part by part, and return its verdict."""
        for _, part in slices(unit.value, SLICE_CHARS, overlap=0):
            if self._clock() >= until:
                return LATE
            reader.feed(part)
            yield
        return reader.verdict()

    def _take(self, step: Step, unit: Unit, verdict: Verdict, took_s: float) -> None:
        """Act on a verdict, and note it."""
        finding = self._finding(step, unit.surface)
        finding.took_s += took_s
        if verdict is PASSED:
            return
        apart = len(unit.context)
        if apart:
            apart, verdict = _behind(verdict, apart)
        decision = decided(step, verdict, unit.value, self._mask)
        if decision.action is Action.REGENERATE and self._escalates:
            decision = decision._replace(action=Action.REVIEW)
        if self._told is not None:
            self._told(step, unit.text, decision)
        if decision.action is Action.PASS:
            return
        finding.count += len(verdict.spans) or 1
        if decision.action > finding.action:
            finding.action, finding.category, finding.score = decision.action, verdict.category, verdict.score
            finding.hashed = self._hashed(unit.value)
        finding.error = finding.error or verdict.error
        if decision.text is not None:
            unit.put(decision.text)
            unit.context = unit.context[:apart]
        if decision.action is Action.REVIEW:
            self._refer(unit, finding, verdict)
        elif decision.action >= Action.REGENERATE and not self._goes_on:
            self.stopped = finding

    def _refer(self, unit: Unit, finding: Finding, verdict: Verdict) -> None:
        """Note that people have to decide. The other rails go on: what one of them blocks, nobody has to look at."""
        for known, objection in self._referred:
            if known is unit:
                objection.others.append(finding.rail)
                return
        objection = Objection(
            finding,
            verdict.category,
            verdict.score,
            unit.text.where,
            unit.place,
            lambda: unit.value,
            unit.put,
        )
        self._referred.append((unit, objection))

    def _note_failure(self, step: Step, scene: Scene, error: str) -> None:
        finding = self._finding(step, scene.surface)
        finding.error = finding.error or error

    def _finding(self, step: Step, surface: Surface) -> Finding:
        finding = self._findings.get((step.name, surface))
        if finding is None:
            finding = self._findings[step.name, surface] = Finding(step.name, step.about.version, surface)
        return finding


class _Stopped(Exception):
    """A rail has blocked, so the others beside it need not end."""


def _behind(verdict: Verdict, chars: int) -> tuple[int, Verdict]:
    """Return what a verdict says of a text behind so many characters of context.

    The number is how much of the context has no part of what it says.
    """
    if not verdict.spans:
        return chars, verdict
    spans = [one._replace(start=one.start - chars, end=one.end - chars) for one in verdict.spans]
    found = tuple(one._replace(start=max(one.start, 0)) for one in spans if one.end > 0)
    apart = chars + min((one.start for one in spans if one.end > 0 > one.start), default=0)
    return apart, msgspec.structs.replace(verdict, spans=found) if found else PASSED
