"""Releases answers: the last part of `attempt`, where output rails check what an engine sends before a client gets it.

`rails/streams/outgoing.py` decides what may leave. A block cuts the engine's stream and ends the answer with a refusal.
Text that is held when the engine fails never leaves. With `on_fail: regenerate` the engine is asked again.

While slow rails judge passages of a stream, the next events are read. If the engine ends or fails meanwhile, the passages
before that get their rulings first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Self

from tidegate.call import Call, Checks
from tidegate.forms import form_of
from tidegate.rails.streams.outgoing import Outgoing
from tidegate.stages.railed import Railed
from tidegate.stages.reading import ReadAhead, Rounds
from tidegate.types import FAILED, Action, Batch, Endpoint, Finding, Message, Reply


class Released:
    """The answer of some rounds as far as rails have passed it. It is an iterator of batches."""

    def __init__(self, call: Call, checks: Checks, railed: Railed, begin: Callable[[], Rounds]) -> None:
        """`begin` begins the rounds of the call. It is called again for each answer that has to be made again."""
        self._call = call
        self._checks = checks
        self._railed = railed
        self._begin = begin
        self._again = 0
        self._form = form_of(call.endpoint)
        self._rounds, self._ahead, self._out = self._answer()
        self._messages = call.messages
        self._held_since = 0.0
        self._is_over = self._has_begun = self._has_shown = False
        call.exit.push(self._tell)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        """Return the next batch that may leave. Raises Blocked, and what the rounds raise."""
        while not self._is_over:
            if self._ahead is not None and await self._is_ruled(self._ahead):
                batch = await self._out.ruled()
                self._is_over = self._out.is_done
            else:
                try:
                    batch = await (anext(self._rounds) if self._checks.gate is None else self._race())
                except StopAsyncIteration:
                    batch = await self._finished()
                else:
                    if self._is_over:
                        return batch  # the refusal
                    clock = self._railed.clock
                    began = self._held_since or clock()
                    passed = self._out.passed(batch)
                    if 0 < passed == len(batch) and self._has_shown:
                        self._held_since = 0.0
                        self._checks.held_s += clock() - began
                        return batch
                    self._held_since = began
                    batch = await self._taken(batch, passed)
            if self._out.stopped is not None:
                batch += await self._stop(self._out.stopped)
            elif self._is_over and self._out.referred:
                batch += await self._refer()
            if batch:
                self._note_time()
                return batch
        raise StopAsyncIteration

    async def _taken(self, batch: Batch, passed: int) -> Batch:
        """Check the pieces behind those that have passed. Returns what may leave, to its end if the engine is cut."""
        if passed < len(batch):
            batch = batch[:passed] + await self._out.take(batch[passed:])
        if self._out.is_over and self._out.stopped is None:
            await self._cut()
            batch += await self._finished()
        return batch

    async def _finished(self) -> Batch:
        batch = await self._out.finish()
        self._is_over = self._out.is_done
        return batch

    async def _is_ruled(self, ahead: ReadAhead) -> bool:
        """Wait for the next ruling on a passage, and read the next batch meanwhile. Returns whether the ruling is there.

        If it is not, the next batch is there, or nothing is judged.
        """
        judging, reading = self._out.judging, None
        if judging is None or judging.first is None:
            return False
        ruling = judging.first
        if not self._out.has_ended and not judging.is_full:
            reading = ahead.begin()
            await asyncio.wait((ruling, reading), return_when=asyncio.FIRST_COMPLETED)
        if reading is None or ruling.done() or _has_failed(reading):
            await asyncio.wait((ruling,))
            return True
        return False

    def _answer(self) -> tuple[Rounds, ReadAhead | None, Outgoing]:
        """Begin an answer. It is read ahead if slow rails judge passages of it."""
        rounds, out = self._begin(), self._outgoing()
        if out.judging is None:
            return rounds, None, out
        ahead = ReadAhead(rounds)
        self._call.exit.push(ahead.close)
        self._call.exit.push(out.judging.close)
        return ahead, ahead, out

    def _outgoing(self) -> Outgoing:
        call, railed = self._call, self._railed
        return Outgoing(
            self._checks.plan,
            self._form,
            railed.clock,
            partial(railed.answer, call, self._checks.plan, escalates=self._escalates()),
            hashed=railed.hashed,
            stream=call.stream,
            choices=call.choices,
            hidden=self._checks.hidden,
        )

    # -- input rails that race the engine ------------------------------------------------------------------------------

    async def _race(self) -> Batch:
        """Wait for the rails that check the request while the engine works. Returns the first batch, or the refusal.

        Raises StopAsyncIteration if the engine ends without a batch.
        """
        gate, self._checks.gate = self._checks.gate, None
        assert gate is not None, "the caller has looked"
        first = self._call.exit.task(self._first(), name=f"race {self._call.id}")
        await asyncio.wait([gate, first], return_when=asyncio.FIRST_COMPLETED)
        if first.done() and not first.cancelled() and first.exception() is not None:
            return first.result()  # raises: the engine has failed before the rails have passed
        if (refused := await self._passed(gate, first)) is None:
            return await first
        self._is_over = self._has_begun = True
        return [piece async for batch in refused.pieces for piece in batch]

    async def _passed(self, gate: asyncio.Task[Reply | None], first: asyncio.Task[Batch]) -> Reply | None:
        """Wait for the gate. If the request is blocked, the engine is cut first. Raises Blocked."""
        refused, is_open = None, False
        try:
            refused = await gate
            is_open = refused is None
        finally:
            if not is_open:
                first.cancel()
                await asyncio.wait([first])
                await self._cut()
        return refused

    async def _first(self) -> Batch:
        return await anext(self._rounds)

    # -- blocks --------------------------------------------------------------------------------------------------------

    async def _stop(self, finding: Finding) -> Batch:
        """Cut the engine. Returns the refusal, or nothing if the engine is asked again. Raises Blocked."""
        await self._cut()
        if self._out.judging is not None and (closing := self._out.judging.close()) is not None:
            await closing
        call, plan = self._call, self._checks.plan
        if (
            finding.action is Action.REGENERATE
            and call.endpoint is Endpoint.CHAT
            and self._again < plan.profile.most_rounds
        ):
            self._tell(None)
            self._again += 1
            self._ask_again(finding)
            return []
        finding.action = Action.BLOCK
        self._is_over = True
        self._tell(None)
        out = self._out
        begun, after_text = self._has_begun, out.shown_chars > 0
        return self._railed.refusal(call, plan, finding, like=out.last, begun=begun, after_text=after_text)

    def _escalates(self) -> bool:
        """Whether people decide about the answer instead of the engine making another one."""
        profile = self._checks.plan.profile
        is_last = self._again >= profile.most_rounds or self._call.endpoint is not Endpoint.CHAT
        return is_last and profile.after_rounds == "review"

    async def _refer(self) -> Batch:
        """Let people decide about an answer whose engine has ended. Returns what leaves. Raises Blocked, and Overloaded."""
        self._tell(None)
        call, plan, out = self._call, self._checks.plan, self._out
        refused = await self._railed.decided(call, plan, out.referred)
        self._held_since = 0.0  # the time of people is not that of rails
        if refused is None:
            return out.resume()
        return self._railed.refusal(
            call,
            plan,
            refused.finding,
            like=out.last,
            begun=self._has_begun,
            after_text=out.shown_chars > 0,
            words=refused.words,
        )

    def _ask_again(self, finding: Finding) -> None:
        """Begin another answer, with an instruction that says what was wrong with the last one."""
        call, profile = self._call, self._checks.plan.profile
        call.spent[-1].purpose = FAILED  # the house pays for an answer that the client does not get
        words = profile.instruction.replace("{reason}", finding.category or finding.rail)
        call.put_messages([*self._messages, Message.of("system", words)])
        self._rounds, self._ahead, self._out = self._answer()
        self._is_over = False

    async def _cut(self) -> None:
        cutting = self._rounds.close(None)
        if cutting is not None:
            await cutting

    # -- what is told --------------------------------------------------------------------------------------------------

    def _note_time(self) -> None:
        now, checks = self._railed.clock(), self._checks
        held_s = now - self._held_since if self._held_since else 0.0
        self._held_since = 0.0 if self._ahead is None or self._out.is_ruled else now
        checks.held_s += held_s
        if not self._has_begun:
            self._has_begun = True
            if not self._call.stream:
                self._tell(None)
        if not self._has_shown and (self._out.shown_chars or self._is_over or not self._call.stream):
            self._has_shown = True
            checks.added_ttft_s += held_s

    def _tell(self, error: BaseException | None) -> None:
        """Add what the rails have found so far to the call, once."""
        del error
        if findings := self._out.told():
            self._railed.note(self._call, findings)


def _has_failed(reading: asyncio.Task[Batch]) -> bool:
    """Return whether an engine has failed, which is not the end of its answer."""
    error = reading.exception()
    return error is not None and not isinstance(error, StopAsyncIteration)
