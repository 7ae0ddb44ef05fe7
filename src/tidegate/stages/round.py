"""One round of a call: a seat, the engine call that it is for, and what becomes of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator

import msgspec

from tidegate.call import Call
from tidegate.dispatch.place import Permit
from tidegate.errors import (
    DeadlineExceeded,
    GatewayError,
    UpstreamBusy,
    UpstreamModelNotFound,
    UpstreamTimeout,
)
from tidegate.ports import Clock
from tidegate.quotas.estimate import OutputEstimate
from tidegate.stages.asking import ask_for
from tidegate.stages.failover import misnamed
from tidegate.stages.needs import needs_of, prompt_tokens
from tidegate.types import ANSWER, Batch, Spent

_UNTOLD = frozenset({"cancelled", DeadlineExceeded.code})
"""Ends of engine calls that say nothing of the engine."""
TIMER_S = 0.001
"""Timers of the event loop and of the engine's client go off at the deadline up to this much before or after it."""


class Round(msgspec.Struct):
    """One engine call. `spent` is its entry in those of the call, from when the engine is asked.

    `probe` says that it probes a half-open breaker, and `timed` that its latency is one of those that decide on hedges.
    """

    call: Call
    clock: Clock
    lengths: OutputEstimate
    permit: Permit
    spent: Spent
    probe: bool = False
    timed: bool = False

    def beside(self, permit: Permit, purpose: str) -> Round:
        """Return a round of the same call with another seat."""
        one = round_with(permit, self.call, self.clock, self.lengths)
        one.timed, one.spent.purpose = self.timed, purpose
        return one

    def begin(self, *, again: bool) -> AsyncGenerator[Batch, None]:
        """Ask the engine and return its stream. `again` says that the call has asked an engine before.

        Raises DeadlineExceeded if it is too late for that.
        """
        call, spent, permit = self.call, self.spent, self.permit
        if spent.sent_at >= call.deadline:
            raise DeadlineExceeded("The deadline passed before the engine was asked")
        deployment = permit.deployment
        health = deployment.health
        self.probe = health is not None and health.begins(spent.sent_at, again=again)
        call.spent.append(spent)
        if call.stream:
            permit.streams(prompt_tokens(call))
        return deployment.engine.stream(ask_for(call, deployment))

    def answered(self) -> None:
        """Take in that the first batch is there."""
        spent, permit = self.spent, self.permit
        spent.first_byte_at = now = self.clock()
        if self.call.stream:
            permit.answered(now)
        health = permit.deployment.health
        if health is not None:
            after_s = now - spent.sent_at if self.call.stream else 0.0
            health.answered(now, after_s=after_s, probe=self.probe)
            self.probe = False
            if self.timed:
                health.latencies.add(now - spent.sent_at)
        standing = permit.deployment.standing
        if standing is not None and (standing.model.count or standing.credentials.count):
            standing.answered()

    def failed(self, error: GatewayError) -> bool:
        """Record a failure, and free the seat. Return whether the engine is at fault: not if the call's own time was up."""
        if isinstance(error, UpstreamBusy):
            self.permit.refused()
        late = self._out_of_time(error)
        self.end(DeadlineExceeded.code if late else error.code)
        deployment = self.permit.deployment
        if deployment.standing is not None:
            deployment.standing.failed(error, self.call.caller.key)
        if late:
            return False
        health = deployment.health
        if health is not None and health.failed(error, self.clock(), probe=self.probe):
            # Calls should go elsewhere from now on, and so do those in line for this engine.
            deployment.seats.shun()
        self.probe = False
        return True

    def _out_of_time(self, error: GatewayError) -> bool:
        """Whether a timeout is the end of the call's own time. The engine would have had more, so it is not at fault."""
        timed_out = isinstance(error, UpstreamTimeout) or isinstance(error.__cause__, TimeoutError)
        return timed_out and self.clock() + TIMER_S >= self.call.deadline

    def explained(self, error: GatewayError) -> GatewayError:
        """Return the error with the place where it happened. A missing model is the mistake of whoever named it."""
        call, spent = self.call, self.spent
        error.upstream.engine, error.upstream.model = spent.engine, spent.model
        if spent.outcome != error.code:
            late = DeadlineExceeded("The deadline passed before the engine had answered")
            late.upstream = error.upstream
            return late
        if isinstance(error, UpstreamModelNotFound):
            if spent.model != call.model:
                return misnamed(error, call.route)
            if call.route == call.model:
                error.level = logging.WARNING  # the configuration lists it
        return error

    def end(self, outcome: str) -> None:
        """Record the end of the engine call and free its seat, before the client has read the rest.

        Later calls have no effect.
        """
        spent, call = self.spent, self.call
        if spent.ended_at:
            return
        spent.outcome, spent.ended_at = outcome, self.clock()
        if outcome in _UNTOLD and (health := self.permit.deployment.health) is not None:
            if self.probe:
                self.probe = False
                health.abandoned(probe=True)
            if self.timed and not spent.first_byte_at:
                health.latencies.cut(spent.ended_at - spent.sent_at)
        usage = spent.usage
        if usage is not None and outcome == "ok" and spent.purpose == ANSWER:
            self.lengths.learn(call.caller.key, call.route, usage.completion_tokens // call.choices)
        permit = self.permit
        permit.release(usage, needs_of(call, self.lengths) if permit.charged else None)


def round_with(permit: Permit, call: Call, clock: Clock, lengths: OutputEstimate) -> Round:
    """Return a round that has not begun."""
    deployment = permit.deployment
    spent = Spent(call.purpose, deployment.engine_name, deployment.model or call.model, clock())
    return Round(call, clock, lengths, permit, spent)
