"""Checks that answers have the form that the request demands. It wraps the rounds of `attempt`, beneath the output rails.

An answer that is not streamed, or a stream that is held (`structure.hold: whole`), is checked when it is complete. If it is
invalid, it is repaired. If that is not possible, the engine is asked again with the error, then another deployment. What is
still invalid becomes an error. A stream that is not held is checked as it arrives: the engine is cut at the first part
after which no valid answer is possible, and the stream ends in an error event.

Two kinds of answers pass as they are, since clients treat them apart: refusals, and answers that were cut off at the limit
of their length.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Self

from tidegate.call import Call, Demand
from tidegate.dispatch.choice import ROUTE
from tidegate.dispatch.deployments import Group
from tidegate.errors import Again, UpstreamError
from tidegate.forms import form_of
from tidegate.ports import Clock
from tidegate.stages.demanded import enforces, note_outcome
from tidegate.stages.reading import Rounds
from tidegate.stages.reasking import may_reask, messages_again
from tidegate.stages.said import Said, only, said_in
from tidegate.structure.checker import Prefix
from tidegate.structure.repair import repaired
from tidegate.structure.tools import ToolCall, repeated
from tidegate.types import ANSWER, CONTINUED, FAILED, Batch, Choice, Piece, Where

AT_END = b"x-tidegate-structure-at-end"
"""The header of a stream that says which rules are checked only at its end."""
NATIVE, REPAIRED, REASKED, REJECTED = "native", "repaired", "reasked", "rejected"
REFUSAL, LENGTH = "refusal", "length"
_LEAST_FIRST = (NATIVE, LENGTH, REFUSAL, REPAIRED)


class InvalidStructure(UpstreamError):
    """The answer does not have the form that the request demands. The message says what is wrong with it, and where."""

    code = "invalid_structure"
    again = Again.NO


class Verdict(NamedTuple):
    """What is found of one choice. `wrong` says what is wrong with it, and `text` is the repaired text."""

    outcome: str
    wrong: str = ""
    text: str | None = None


class Structured:
    """The answer of some rounds, in the demanded form. It is an iterator of batches."""

    def __init__(
        self,
        call: Call,
        demand: Demand,
        begin: Callable[[], Rounds],
        elsewhere: Callable[[], Sequence[Group]],
        clock: Clock,
    ) -> None:
        """`begin` begins the rounds of the call, again for each answer that is made again.

        `elsewhere` returns the deployments that can make it instead of the one that was asked last.
        """
        self._call = call
        self._demand = demand
        self._begin = begin
        self._elsewhere = elsewhere
        self._clock = clock
        self._request = call.fields, call.messages
        self._since = len(call.spent)
        self._rounds = begin()
        self._holds = not call.stream or demand.rules.hold == "whole"
        self._reasks = 0
        self._has_moved = self._is_over = False
        self._said: dict[int, Said] = {}
        self._prefixes: dict[int, Prefix] = {}
        self._wrong: dict[int, str] = {}
        self._outcomes: list[str] = []
        checker = demand.checker
        if checker is not None and checker.unsupported and not self._holds:
            call.reply_headers.append((AT_END, checker.unsupported.encode("ascii", "replace")))

    def __aiter__(self) -> Self:
        return self

    def close(self, error: BaseException | None) -> Coroutine[Any, Any, None] | None:
        """See `Rounds.close`."""
        return self._rounds.close(error)

    async def __anext__(self) -> Batch:
        """Return the next batch that may leave. Raises InvalidStructure, and what the rounds raise."""
        while not self._is_over:
            batch = await (self._whole() if self._holds else self._next())
            if batch:
                return batch
        if self._wrong:
            raise self._rejection(self._wrong)
        raise StopAsyncIteration

    # -- answers that are complete -------------------------------------------------------------------------------------

    async def _whole(self) -> Batch:
        """Return the whole answer, made again as long as it is invalid and that is allowed."""
        while True:
            pieces = [piece async for batch in self._rounds for piece in batch]
            said = said_in(pieces)
            verdicts = {at: self._judged(one) for at, one in said.items()}
            wrong = {at: one.wrong for at, one in verdicts.items() if one.wrong}
            if not wrong:
                self._is_over = True
                self._outcomes = [one.outcome for one in verdicts.values()]
                self._tell()
                return self._mended(pieces, verdicts)
            self._disown()
            at = min(wrong)
            if not self._makes_again(said[at], wrong[at]):
                self._is_over, self._wrong = True, wrong
                return []

    def _judged(self, said: Said) -> Verdict:
        demand = self._demand
        if said.refuses or said.finish == "content_filter":
            return Verdict(REFUSAL)
        if said.calls:
            return self._judged_calls(said)
        if demand.checker is None:
            return Verdict("")
        text = said.text
        wrong = demand.checker.errors(text)
        if not wrong:
            return Verdict(NATIVE)
        if said.finish == "length" and demand.checker.begin().feed(text):
            return Verdict(LENGTH)
        mended = repaired(text, demand.checker) if self._holds and demand.rules.repair else None
        return Verdict("", wrong) if mended is None else Verdict(REPAIRED, text=mended)

    def _judged_calls(self, said: Said) -> Verdict:
        if said.finish == "length":
            return Verdict(LENGTH)
        tools = self._demand.tools
        if tools is None:
            return Verdict("")
        calls = [ToolCall("", one.name, "".join(one.arguments)) for one in said.calls.values()]
        messages = [one.raw for one in self._request[1]]
        wrong = tools.errors(calls) or repeated(messages, calls, self._demand.rules.most_repeats)
        return Verdict("", wrong) if wrong else Verdict(NATIVE)

    def _mended(self, pieces: Batch, verdicts: dict[int, Verdict]) -> Batch:
        """Return the pieces with the repaired texts. Of a stream, the first event with text has all of it."""
        texts = {at: one.text for at, one in verdicts.items() if one.text is not None}
        if not texts:
            return pieces
        form, found = form_of(self._call.endpoint), list[Piece]()
        for piece in pieces:
            places = [
                one.where for one in form.texts_out(piece) if _is_text(one.where) and one.where.at in texts
            ]
            changed = {where: texts[where.at] for where in places}
            texts.update(dict.fromkeys((where.at for where in places), ""))
            found.append(
                form.without_echoes(form.put_out(piece, changed), verdicts.keys()) if changed else piece
            )
        return found

    # -- once more -----------------------------------------------------------------------------------------------------

    def _makes_again(self, said: Said, wrong: str) -> bool:
        """Begin another answer, in place of an invalid one. Return whether there is one."""
        call, rules = self._call, self._demand.rules
        if self._clock() >= call.deadline:
            return False
        call.fields, call.messages = self._request
        if self._reasks < rules.reasks and may_reask(call):
            self._reasks += 1
            untold = call.deployment is not None and not enforces(call, call.deployment)
            call.put_messages(
                messages_again(call.messages, said, wrong, self._demand.shape if untold else None)
            )
        elif not self._has_moved and (groups := self._elsewhere()):
            self._has_moved, call.groups = True, groups
        else:
            return False
        call.reply_headers[:] = [one for one in call.reply_headers if one[0] != ROUTE]
        self._since = len(call.spent)
        self._rounds = self._begin()
        return True

    def _disown(self) -> None:
        """Let the house pay for an answer that the client does not get."""
        for one in self._call.spent[self._since :]:
            if one.purpose in (ANSWER, CONTINUED):
                one.purpose = FAILED

    # -- streams -------------------------------------------------------------------------------------------------------

    async def _next(self) -> Batch:
        """Return what may leave of the next batch of a stream."""
        try:
            batch = await anext(self._rounds)
        except StopAsyncIteration:
            for at, said in self._said.items():
                if not said.finish and at not in self._wrong:
                    self._judge(at, said)
            self._end()
            return []
        kept = [left for piece in batch if (left := self._passing(piece)) is not None]
        if self._wrong and len(self._wrong) >= self._call.choices:
            cutting = self._rounds.close(None)
            if cutting is not None:
                await cutting
            self._end()
        return kept

    def _passing(self, piece: Piece) -> Piece | None:
        """Take a piece of a stream. Return what may leave of it."""
        choices = piece.answer.choices
        if not choices:
            return piece
        kept = [place for place, choice in enumerate(choices) if self._follows(choice.index, choice)]
        if len(kept) == len(choices):
            return piece
        return only(piece, kept) if kept else None

    def _follows(self, at: int, choice: Choice) -> bool:
        """Take a part of a choice. Return whether the choice can still have the form."""
        said = self._said.get(at)
        if said is None:
            said = self._said[at] = Said()
            if self._demand.checker is not None and self._demand.checker.streams:
                self._prefixes[at] = self._demand.checker.begin()
        text = said.take(choice)
        if at in self._wrong:
            return False
        prefix = self._prefixes.get(at)
        if text and prefix is not None and not prefix.feed(text):
            self._wrong[at] = (
                f"nothing valid begins with what the engine has said so far (characters: {len(said.text)})"
            )
        elif said.finish:
            self._judge(at, said)
        return at not in self._wrong

    def _judge(self, at: int, said: Said) -> None:
        verdict = self._judged(said)
        if verdict.wrong:
            self._wrong[at] = verdict.wrong
        elif verdict.outcome:
            self._outcomes.append(verdict.outcome)

    def _end(self) -> None:
        self._is_over = True
        if self._wrong:
            self._disown()
        else:
            self._tell()

    # -- what is told --------------------------------------------------------------------------------------------------

    def _rejection(self, wrong: dict[int, str]) -> InvalidStructure:
        """Return the error for an answer that has no valid form."""
        call, demand = self._call, self._demand
        note_outcome(call, demand, REJECTED)
        at = min(wrong)
        which = f" {at}" if call.choices > 1 else ""
        error = InvalidStructure(
            f"The answer{which} does not pass the check for '{demand.field}': {wrong[at]}",
            param=demand.field,
        )
        if call.deployment is not None:
            error.upstream.engine = call.deployment.engine_name
        return error

    def _tell(self) -> None:
        found = [one for one in self._outcomes if one]
        if found:
            worst = max(found, key=_LEAST_FIRST.index)
            note_outcome(self._call, self._demand, REASKED if self._reasks or self._has_moved else worst)


def _is_text(where: Where) -> bool:
    return where.channel == "text" or where.channel.startswith("content")
