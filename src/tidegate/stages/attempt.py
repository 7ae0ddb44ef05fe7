"""The stage `attempt`: asks engines, one per round. A round takes a permit, asks one engine and passes its answer on.

Another round begins only when the failed one cannot have cost work at an engine: the engine was never reached, a
kept-alive connection closed as the request was sent, or the embedded engine died and restarts. Once the first batch has
left, no other engine is asked. The permit is released when the engine has ended, not when the client has read the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from functools import partial
from typing import Any, Self

import msgspec

from tidegate.call import Call
from tidegate.dispatch.choice import tell_route
from tidegate.dispatch.deployments import Deployment, Models
from tidegate.dispatch.place import Permit, Place
from tidegate.dispatch.standing import Standing
from tidegate.errors import (
    DeadlineExceeded,
    GatewayError,
    UpstreamBusy,
    UpstreamModelNotFound,
    UpstreamTimeout,
)
from tidegate.ports import Clock
from tidegate.quotas.estimate import OutputEstimate
from tidegate.quotas.levels import NO_LIMITS
from tidegate.quotas.tokens import tokens_in
from tidegate.stages.asking import ask_for, asks_usage
from tidegate.stages.failover import Failover, misnamed
from tidegate.stages.needs import needs_of, prompt_tokens
from tidegate.types import ANSWER, FAILED, Batch, Reply, Spent

_UNTOLD = frozenset({"cancelled", DeadlineExceeded.code})
"""Ends of engine calls that say nothing of the engine."""
TIMER_S = 0.001
"""Timers of the event loop and of the engine's client go off at the deadline up to this much before or after it."""


class Attempt:
    """Answers every call. Being the last stage, it never passes a call on."""

    def __init__(self, clock: Clock, lengths: OutputEstimate, models: Models) -> None:
        """`lengths` learns how long answers are, and `models` has the fallbacks."""
        self._clock = clock
        self._models = models
        self._lengths = lengths

    def __call__(self, call: Call) -> Reply:
        """Return the reply at once. The engine is asked when the first batch of the reply is asked for."""
        rounds = _Rounds(call, self._clock, self._lengths, Failover(call, self._clock, self._models))
        rounds.counts = call.policy.limits is not NO_LIMITS
        call.exit.push(rounds.close)
        return Reply(rounds)

    def foretell(self, call: Call) -> str:
        """Say which engine would be asked first."""
        return f"asks engine '{call.groups[0].deployments[0].engine_name}', and another one only if that is not reached"


class _Rounds(msgspec.Struct):
    """The answer of the round that succeeds. It is an iterator: the event loop would have to keep track of a generator."""

    call: Call
    clock: Clock
    lengths: OutputEstimate
    failover: Failover
    probe: bool = False
    tries: int = 0
    batches: AsyncGenerator[Batch, None] | None = None
    permit: Permit | None = None
    spent: Spent | None = None
    standing: Standing | None = None
    counts: bool = False
    kept: list[GatewayError] = []
    """The error of the last round. The client gets it if the next round gets no seat."""

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
                # The raised error must not be a local variable: its traceback has this frame, which would keep it, and the
                # answer with it, until the next garbage collection.
                if not self._goes_on(spent, error):
                    raise self._explained(error, spent) from error.__cause__
            else:
                if not spent.first_byte_at:
                    self._answered(spent)
                for piece in batch:
                    if self.counts or piece.answer.usage is not None:
                        batch = self._take(batch, spent)
                        break
                if batch:
                    return batch

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
        if not call.spent:
            call.reply_headers.append((b"x-tidegate-queue", place.told()))
        self.permit, now = permit, self.clock()
        deployment = call.deployment = permit.deployment
        self.tries += 1
        tell_route(call.reply_headers, self.failover.group, deployment, self.tries)
        if now >= call.deadline:
            raise DeadlineExceeded("The deadline passed before the engine was asked")
        self.standing, health = deployment.standing, deployment.health
        self.probe = health is not None and health.begins(now, again=self.tries > 1)
        spent = self.spent = Spent(call.purpose, deployment.engine_name, deployment.model or call.model, now)
        call.spent.append(spent)
        if call.stream:
            permit.streams(prompt_tokens(call))
        if call.when_asked is not None:
            call.when_asked()
        batches = self.batches = deployment.engine.stream(ask_for(call, deployment))
        return batches

    async def _wait(self, place: Place, candidates: Sequence[Deployment]) -> Permit:
        """Wait for a seat. One of an engine whose calls have begun to fail meanwhile is given back if there are others."""
        call = self.call
        while True:
            began = self.clock()
            try:
                permit = await place.dispatch(
                    candidates, call.deadline, partial(needs_of, call, self.lengths)
                )
            except GatewayError as error:
                if self.kept and self.spent is not None:
                    raise self._explained(self.kept.pop(), self.spent) from error
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

    def _answered(self, spent: Spent) -> None:
        """The first batch is there."""
        spent.first_byte_at = now = self.clock()
        permit = self.permit
        if permit is not None:
            if self.call.stream:
                permit.answered(now)
            health = permit.deployment.health
            if health is not None:
                after_s = now - spent.sent_at if self.call.stream else 0.0
                health.answered(now, after_s=after_s, probe=self.probe)
                self.probe = False
        standing = self.standing
        if standing is not None and (standing.model.count or standing.credentials.count):
            standing.answered()

    def _goes_on(self, spent: Spent, error: GatewayError) -> bool:
        """Take in a failed round. Return whether another round begins."""
        if self.permit is not None and isinstance(error, UpstreamBusy):
            self.permit.refused()
        self._end(spent, DeadlineExceeded.code if self._out_of_time(error) else error.code)
        if self.standing is not None:
            self.standing.failed(error, self.call.caller.key)
        asked = self.call.deployment
        if asked is None or spent.outcome != error.code:
            return False
        self._judge(asked, error)
        if spent.first_byte_at or not self.failover.goes_on(error, asked):
            return False
        spent.purpose = FAILED
        self.kept = [error.with_traceback(None)]  # its traceback has a frame that has this object
        if asked.health is not None:
            if self.failover.only is asked:
                asked.health.retries += 1
            else:
                asked.health.failovers += 1
        return True

    def _judge(self, asked: Deployment, error: GatewayError) -> None:
        """Count the failure. If calls should go elsewhere from now on, those in line for this engine do so."""
        health = asked.health
        if health is not None and health.failed(error, self.clock(), probe=self.probe):
            asked.seats.shun()
        self.probe = False

    def _out_of_time(self, error: GatewayError) -> bool:
        """Whether a timeout is the end of the call's own time. The engine would have had more, so it is not at fault."""
        timed_out = isinstance(error, UpstreamTimeout) or isinstance(error.__cause__, TimeoutError)
        return timed_out and self.clock() + TIMER_S >= self.call.deadline

    def _explained(self, error: GatewayError, spent: Spent) -> GatewayError:
        """The error with the place where it happened. A model that is not there is the mistake of whoever named it."""
        error.upstream.engine, error.upstream.model = spent.engine, spent.model
        if spent.outcome != error.code:
            late = DeadlineExceeded("The deadline passed before the engine had answered")
            late.upstream = error.upstream
            return late
        if isinstance(error, UpstreamModelNotFound):
            if spent.model != self.call.model:
                return misnamed(error, self.call.route)
            if self.call.route == self.call.model:
                error.level = logging.WARNING  # the configuration lists it
        return error

    def _end(self, spent: Spent, outcome: str) -> None:
        """Record the end of the engine call and free its seat, before the client has read the rest."""
        spent.outcome, spent.ended_at = outcome, self.clock()
        self.batches = None
        if self.probe and outcome in _UNTOLD and self.permit is not None:
            self._abandon(self.permit.deployment)
        usage = spent.usage
        if usage is not None and outcome == "ok" and spent.purpose == ANSWER:
            call = self.call
            self.lengths.learn(call.caller.key, call.route, usage.completion_tokens // call.choices)
        if self.permit is not None:
            permit = self.permit
            permit.release(usage, needs_of(self.call, self.lengths) if permit.charged else None)

    def _abandon(self, asked: Deployment) -> None:
        self.probe = False
        if asked.health is not None:
            asked.health.abandoned(probe=True)

    def close(self, error: BaseException | None) -> Coroutine[Any, Any, None] | None:
        """Cut the engine's stream if it still runs, and release the permit. Called at the end of the call."""
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
