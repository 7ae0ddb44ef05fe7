"""The engine's turn, one round after another: a permit, one engine asked, its answer passed on.

Another round begins only where no engine can have worked on the call for nothing: the engine was never reached, a kept
connection closed as the request left, or the embedded engine died and comes back. Once the first batch has left, no other
engine is asked. The permit goes back when the engine has ended, not when the client has read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Self

import msgspec

from tidegate.dispatch.seats import Permit
from tidegate.errors import Again, DeadlineExceeded, GatewayError
from tidegate.ports import Clock
from tidegate.types import Ask, Batch, Call, Deployment, Reply, Spent

SAME_ENGINE_AGAIN = 2
_ENCODER = msgspec.json.Encoder()


def ask_for(call: Call, deployment: Deployment) -> Ask:
    """What one deployment is asked for a call: under the engine's own name for the model, if it has one."""
    fields, model = call.fields, deployment.model
    if model is not None and model != call.model:
        fields = {**fields, "model": msgspec.Raw(_ENCODER.encode(model))}
    return Ask(
        call.id,
        call.endpoint,
        model or call.model,
        fields,
        call.messages,
        call.onward,
        call.deadline,
        call.stream,
        call.choices,
        call.priority,
        call.room,
    )


class Attempt:
    """The stage `attempt`: always answers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def __call__(self, call: Call) -> Reply:
        """Hand out the answer to come; the engine is asked when the first batch is. Raises DeadlineExceeded."""
        if self._clock() >= call.deadline:
            raise DeadlineExceeded("The deadline passed before the engine was asked")
        rounds = _Rounds(call, self._clock)
        call.exit.push(rounds.close)
        return Reply(rounds)


class _Rounds:
    """The answer of whichever round succeeds. An iterator, not a generator: the loop keeps a book about each of those."""

    __slots__ = ("_batches", "_call", "_clock", "_permit", "_same", "_spent", "_untried")

    def __init__(self, call: Call, clock: Clock) -> None:
        self._call = call
        self._clock = clock
        self._untried = list(call.candidates)
        self._same = 0
        self._batches: AsyncGenerator[Batch, None] | None = None
        self._permit: Permit | None = None
        self._spent: Spent

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        while True:
            batches = self._batches or await self._begin()
            try:
                batch = await anext(batches)
            except StopAsyncIteration:
                self._end("ok")
                raise
            except GatewayError as error:
                self._end(error.code)
                if self._spent.first_byte_at or not self._may_go_on(error):
                    raise
            else:
                self._note(batch)
                return batch

    async def _begin(self) -> AsyncGenerator[Batch, None]:
        """A permit, and the engine that it is for."""
        call, place = self._call, self._call.place
        assert place is not None, "admit comes before attempt"
        began = self._clock()
        permit = self._permit = await place.dispatch(self._untried, call.deadline)
        now = self._clock()
        call.waited_s += now - began
        deployment = call.deployment = permit.deployment
        if now >= call.deadline:
            raise DeadlineExceeded("The deadline passed before the engine was asked")
        self._spent = Spent("answer", deployment.engine_name, deployment.model or call.model, now)
        call.spent.append(self._spent)
        if call.when_asked is not None:
            call.when_asked()
        batches = self._batches = deployment.engine.stream(ask_for(call, deployment))
        return batches

    def _note(self, batch: Batch) -> None:
        spent = self._spent
        if not spent.first_byte_at:
            spent.first_byte_at = self._clock()
        for piece in batch:
            if piece.answer.usage is not None:
                spent.usage = piece.answer.read_usage()

    def _end(self, outcome: str) -> None:
        """The engine has ended: its seat is free for others before the client has read the rest."""
        self._spent.outcome, self._spent.ended_at = outcome, self._clock()
        self._batches = None
        if self._permit is not None:
            self._permit.release()

    def _may_go_on(self, error: GatewayError) -> bool:
        """Whether another round is allowed, with `_untried` set for it."""
        asked = self._call.deployment
        if error.again is Again.ELSEWHERE:
            self._untried = [one for one in self._untried if one is not asked]
        elif error.again is Again.SAME and self._same < SAME_ENGINE_AGAIN:
            self._same += 1
            self._untried = [one for one in self._untried if one is asked]
        else:
            return False
        return bool(self._untried) and self._clock() < self._call.deadline

    def close(self, error: BaseException | None) -> Coroutine[Any, Any, None] | None:
        """What is left to do at the call's end; nothing for an answer that was read to its end."""
        if self._batches is not None:
            return self._cut(self._batches, error)
        if self._permit is not None:
            self._permit.release()
        return None

    async def _cut(self, batches: AsyncGenerator[Batch, None], error: BaseException | None) -> None:
        try:
            await batches.aclose()
        finally:
            self._end(error.code if isinstance(error, GatewayError) else "cancelled")
