"""The stage `attempt`: asks engines, one per round. A round takes a permit, asks one engine and passes its answer on.

`stages/failover.py` says when another round begins after a failed one. Once the first batch has left, no other engine is
asked. The permit is released when the engine has ended, not when the client has read the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from functools import partial
from math import inf
from typing import Any, Self

import msgspec

from tidegate.call import Call
from tidegate.dispatch.choice import tell_route
from tidegate.dispatch.deployments import Deployment, Group, Models
from tidegate.dispatch.place import Permit, Place
from tidegate.errors import GatewayError, NotSupported
from tidegate.ports import Clock
from tidegate.quotas.estimate import OutputEstimate
from tidegate.quotas.levels import NO_LIMITS
from tidegate.quotas.tokens import tokens_in
from tidegate.stages.asking import asks_usage
from tidegate.stages.continuation import Continued, may_continue
from tidegate.stages.demanded import described
from tidegate.stages.failover import Failover
from tidegate.stages.hedging import Race, is_small
from tidegate.stages.needs import needs_of
from tidegate.stages.railed import Railed
from tidegate.stages.reading import Rounds
from tidegate.stages.release import Released
from tidegate.stages.round import Round, round_with
from tidegate.stages.screen import foretold
from tidegate.stages.structured import Structured
from tidegate.types import ANSWER, CONTINUED, FAILED, HEDGE, Batch, Parent, Reply, Spent


class Attempt:
    """Answers every call. Being the last stage, it never passes a call on."""

    def __init__(self, clock: Clock, lengths: OutputEstimate, models: Models, railed: Railed) -> None:
        """`lengths` learns how long answers are, `models` has the fallbacks, and `railed` runs the output rails."""
        self._railed = railed
        self._clock = clock
        self._models = models
        self._lengths = lengths

    def __call__(self, call: Call) -> Reply:
        """Return the reply at once. The engine is asked when the first batch of the reply is asked for."""
        checks, demand = call.checks, call.demand
        begin = self._rounds if demand is None or not demand.rules.check else self._structured
        if checks is None or call.purpose != ANSWER or not checks.changes_answers:
            return Reply(begin(call))
        return Reply(Released(call, checks, self._railed, partial(begin, call)))

    def _rounds(self, call: Call) -> Rounds:
        rounds = _Rounds(call, self._clock, self._lengths, Failover(call, self._clock, self._models))
        rounds.counts, rounds.purpose = call.policy.limits is not NO_LIMITS, call.purpose
        rounds.hedges = call.route in self._models.hedged and is_small(call, self._lengths)
        call.exit.push(rounds.close)
        if call.stream and call.route in self._models.continued and may_continue(call):
            return Continued(call, rounds)
        return rounds

    def _structured(self, call: Call) -> Rounds:
        demand = call.demand
        assert demand is not None, "the caller has looked"

        def others() -> Sequence[Group]:
            return Failover(call, self._clock, self._models).instead(call.deployment)

        return Structured(call, demand, partial(self._rounds, call), others, self._clock)

    def foretell(self, call: Call) -> str:
        """Say which engine would be asked first."""
        first = call.groups[0].deployments[0]
        told = f"asks engine '{first.engine_name}', and another one only if that is not reached"
        if call.demand is not None:
            told = f"{told}; {described(call, first)}"
        if call.checks is None or not call.checks.plan.output_checks:
            return told
        plan = call.checks.plan
        return f"{told}; the answer is checked by {foretold(plan, plan.output_checks)}"


class _Rounds(msgspec.Struct):
    """The answer of the round that succeeds. It is an iterator: the event loop would have to keep track of a generator.

    `round` is the last one. `batches` is its answer as long as that goes on. `purpose` is that of the next round. What is
    asked for after an error is the batch of a new round.
    """

    call: Call
    clock: Clock
    lengths: OutputEstimate
    failover: Failover
    tries: int = 0
    batches: AsyncGenerator[Batch, None] | None = None
    round: Round | None = None
    counts: bool = False
    purpose: str = ANSWER
    hedges: bool = False
    kept: list[GatewayError] = []
    """The error of the last round. The client gets it if the next round gets no seat."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        while True:
            batches = self.batches or await self._begin()
            try:
                batch = await anext(batches)
            except StopAsyncIteration:
                self.batches = None
                self._last.end("ok")
                raise
            except GatewayError as error:
                # The raised error must not be a local variable: its traceback has this frame, which would keep it, and the
                # answer with it, until the next garbage collection.
                if not self._goes_on(self._last, error):
                    raise self._last.explained(error) from error.__cause__
            else:
                one = self.round
                assert one is not None, "_begin makes it"
                if not one.spent.first_byte_at:
                    one.answered()
                for piece in batch:
                    if self.counts or piece.answer.usage is not None:
                        batch = self._take(batch, one.spent)
                        break
                if batch:
                    return batch

    @property
    def _last(self) -> Round:
        assert self.round is not None, "_begin makes it"
        return self.round

    async def _begin(self) -> AsyncGenerator[Batch, None]:
        """Take a permit and start the stream of the engine that it is for."""
        call, place = self.call, self.call.place
        assert place is not None, "admit comes before attempt"
        if self.failover.pause_s:
            await asyncio.sleep(self.failover.pause_s)
        candidates = self.failover.candidates()
        permit = place.try_dispatch(candidates)
        if permit is None:
            permit = await self._wait(place, candidates)
        one = self.round = round_with(permit, call, self.clock, self.lengths)
        one.spent.purpose = self.purpose
        if not call.spent:
            call.reply_headers.append((b"x-tidegate-queue", place.told()))
        deployment = call.deployment = permit.deployment
        self.tries += 1
        tell_route(call.reply_headers, self.failover.group, deployment, self.tries)
        batches = one.begin(again=self.tries > 1)
        if self.hedges and self.tries == 1:
            batches = self._hedged(one, batches)
        self.batches = batches
        if call.when_asked is not None:
            call.when_asked()
        return batches

    def _hedged(self, one: Round, batches: AsyncGenerator[Batch, None]) -> AsyncGenerator[Batch, None]:
        """Return the stream of the first round, or one that another round may overtake."""
        health = one.permit.deployment.health
        if health is None:
            return batches
        one.timed = True
        after_s = health.latencies.p95
        if after_s == inf:
            return batches
        return Race(one, batches, self.failover, self._won).batches(after_s)

    def _won(self, one: Round, asked: int) -> None:
        """Go on with a round of a race in which so many engines were asked."""
        if one is not self.round:
            call, deployment = self.call, one.permit.deployment
            self.round, call.deployment = one, deployment
            tell_route(call.reply_headers, self.failover.group, deployment, asked, again="hedge")
            if call.when_asked is not None:
                call.when_asked()
        self.tries = asked

    async def _wait(self, place: Place, candidates: Sequence[Deployment]) -> Permit:
        """Wait for a seat. One of an engine whose calls have begun to fail meanwhile is given back if there are others.

        Raises NotSupported for a call of the gateway's own that would wait for a seat which its parent holds.
        """
        call = self.call
        if call.purpose != ANSWER and call.parent and _would_wait_for_itself(call.parent, candidates):
            name = candidates[0].engine_name
            raise NotSupported(
                f"The engine '{name}' is full and keeps no seat for the gateway's own calls: set"
                f" engines.{name}.reserved_seats"
            )
        while True:
            began = self.clock()
            try:
                permit = await place.dispatch(
                    candidates, call.deadline, partial(needs_of, call, self.lengths)
                )
            except GatewayError as error:
                if self.kept and self.round is not None:
                    raise self.round.explained(self.kept.pop()) from error
                error.upstream.engine = ", ".join(dict.fromkeys(one.engine_name for one in candidates))
                raise
            now = self.clock()
            call.waited_s += now - began
            others = self.failover.candidates() if permit.deployment.is_out(now) else ()
            if not others or any(one is permit.deployment for one in others):
                return permit
            permit.decline()
            candidates = others

    def _take(self, batch: Batch, spent: Spent) -> Batch:
        """Note the tokens of a batch. Return the batch without the token counts that the client did not ask for."""
        if self.counts:
            spent.received_tokens += tokens_in(batch)
            if len(batch) == 1 and batch[0].answer.usage is None:
                return batch
        asked = not self.call.stream or asks_usage(self.call)
        kept: Batch = []
        for piece in batch:
            if piece.answer.usage is not None:
                spent.usage = piece.answer.read_usage()
                if not (asked or piece.answer.choices or self._wants_times()):
                    continue
            kept.append(piece)
        return kept

    def _wants_times(self) -> bool:
        """Whether the client wants llama.cpp's times, which come with the token counts."""
        return "timings_per_token" in self.call.fields

    def _goes_on(self, one: Round, error: GatewayError) -> bool:
        """Take in a failed round. Return whether another round begins."""
        self.batches = None
        asked = one.permit.deployment
        if not one.failed(error) or one.spent.first_byte_at or not self.failover.goes_on(error, asked):
            return False
        one.spent.purpose = FAILED
        self.kept = [error.with_traceback(None)]  # its traceback has a frame that has this object
        if asked.health is not None:
            if self.failover.only is asked:
                asked.health.retries += 1
            else:
                asked.health.failovers += 1
        return True

    def close(self, error: BaseException | None) -> Coroutine[Any, Any, None] | None:
        """Cut the engine's stream if it still runs, and release the permit. Called at the end of the call."""
        if self.round is None:
            return None
        if self.batches is not None:
            return self._cut(self.batches, self.round, error)
        self.round.permit.release()
        return None

    async def _cut(
        self, batches: AsyncGenerator[Batch, None], one: Round, error: BaseException | None
    ) -> None:
        try:
            await batches.aclose()
        finally:
            one.end(error.code if isinstance(error, GatewayError) else "cancelled")


def _would_wait_for_itself(parent: Parent, candidates: Sequence[Deployment]) -> bool:
    """Whether the parent of a call has a seat of each engine that could serve it, and none of them keeps reserved ones."""
    held = {one.engine for one in parent.spent if one.purpose in _ANSWERING and not one.ended_at}
    return bool(held) and all(one.engine_name in held and not one.seats.reserved for one in candidates)


_ANSWERING = frozenset({ANSWER, CONTINUED, HEDGE})
"""The purposes of engine calls whose seats a client's call holds."""
