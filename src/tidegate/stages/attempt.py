"""The engine's turn, one round after another: a permit, one engine asked, its answer passed on.

Another round begins only where no engine can have worked on the call for nothing: the engine was never reached, a kept
connection closed as the request left, or the embedded engine died and comes back. Once the first batch has left, no other
engine is asked. The permit goes back when the engine has ended, not when the client has read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, Self

import msgspec

from tidegate.call import Call
from tidegate.dispatch.deployments import Deployment
from tidegate.dispatch.queue import Permit
from tidegate.errors import Again, DeadlineExceeded, GatewayError
from tidegate.ports import Clock
from tidegate.types import Ask, Batch, Reply, Spent

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
        call.is_large,
    )


class Attempt:
    """The stage `attempt`: always answers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, call: Call) -> Reply:
        """Hand out the answer to come; the engine is asked when the first batch is."""
        rounds = _Rounds(call, self._clock, call.candidates)
        call.exit.push(rounds.close)
        return Reply(rounds)

    def foretell(self, call: Call) -> str:
        """Which engine would be asked first."""
        return f"asks engine '{call.candidates[0].engine_name}', and another one only where that was never reached"


class _Rounds(msgspec.Struct):
    """The answer of whichever round succeeds. An iterator, not a generator: the loop keeps a book about each of those."""

    call: Call
    clock: Clock
    untried: Sequence[Deployment]
    same: int = 0
    batches: AsyncGenerator[Batch, None] | None = None
    permit: Permit | None = None
    spent: Spent | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        while True:
            batches = self.batches or await self._begin()
            spent = self.spent
            assert spent is not None, "_begin makes it"
            try:
                batch = await anext(batches)
            except StopAsyncIteration:
                self._end(spent, "ok")
                raise
            except GatewayError as error:
                self._end(spent, error.code)
                if spent.first_byte_at or not self._may_go_on(error):
                    raise
            else:
                if not spent.first_byte_at:
                    spent.first_byte_at = self.clock()
                for piece in batch:
                    if piece.answer.usage is not None:
                        spent.usage = piece.answer.read_usage()
                return batch

    async def _begin(self) -> AsyncGenerator[Batch, None]:
        """A permit, and the engine that it is for."""
        call, place = self.call, self.call.place
        assert place is not None, "admit comes before attempt"
        permit = place.try_dispatch(self.untried)
        if permit is None:
            began = self.clock()
            permit = await place.dispatch(self.untried, call.deadline)
            call.waited_s += self.clock() - began
        self.permit, now = permit, self.clock()
        deployment = call.deployment = permit.deployment
        if now >= call.deadline:
            raise DeadlineExceeded("The deadline passed before the engine was asked")
        spent = self.spent = Spent(call.purpose, deployment.engine_name, deployment.model or call.model, now)
        call.spent.append(spent)
        if call.when_asked is not None:
            call.when_asked()
        batches = self.batches = deployment.engine.stream(ask_for(call, deployment))
        return batches

    def _end(self, spent: Spent, outcome: str) -> None:
        """The engine has ended: its seat is free for others before the client has read the rest."""
        spent.outcome, spent.ended_at = outcome, self.clock()
        self.batches = None
        if self.permit is not None:
            self.permit.release()

    def _may_go_on(self, error: GatewayError) -> bool:
        """Whether another round is allowed, with `_untried` set for it."""
        asked = self.call.deployment
        if error.again is Again.ELSEWHERE:
            self.untried = [one for one in self.untried if one is not asked]
        elif error.again is Again.SAME and self.same < SAME_ENGINE_AGAIN:
            self.same += 1
            self.untried = [one for one in self.untried if one is asked]
        else:
            return False
        return bool(self.untried) and self.clock() < self.call.deadline

    def close(self, error: BaseException | None) -> Coroutine[Any, Any, None] | None:
        """What is left to do at the call's end; nothing for an answer that was read to its end."""
        if self.batches is not None and self.spent is not None:
            return self._cut(self.batches, self.spent, error)
        if self.permit is not None:
            self.permit.release()
        return None

    async def _cut(
        self, batches: AsyncGenerator[Batch, None], spent: Spent, error: BaseException | None
    ) -> None:
        try:
            await batches.aclose()
        finally:
            self._end(spent, error.code if isinstance(error, GatewayError) else "cancelled")
