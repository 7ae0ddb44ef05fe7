"""The way of a request, in order. Read this file first.

Each stage is one callable in `stages/`. A stage that returns nothing lets the call go on; a Reply answers it; a
GatewayError refuses it. A stage that also has `wrap` watches or changes the answers of the stages behind it on their way
back, the last stage's wrap first. What a stage takes for a call it pushes on `call.exit`, which gives everything back, last
in first out, before the last byte leaves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from tidegate.dispatch.seats import Queue
from tidegate.ports import Clock, Sink, Stage
from tidegate.stages.account import Account
from tidegate.stages.admit import Admit
from tidegate.stages.attempt import Attempt
from tidegate.stages.route import Models, Route
from tidegate.types import Batch, Call, Reply


class Step(msgspec.Struct, frozen=True):
    """One place on the way. `stage` None: the place is kept, nothing stands there yet."""

    name: str
    does: str
    stage: Stage | None = None


def the_way(models: Models, sinks: Sequence[Sink], clock: Clock, queue: Queue) -> list[Step]:
    """Every step from the parsed request to the engine and back."""
    return [
        Step("authenticate", "who calls: key to tenant, and the policy that applies"),
        Step("limit", "reserve requests, tokens and money at every level"),
        Step("account", "measure, settle, bill and log, exactly once", Account(sinks, clock)),
        Step("screen", "input rails that are rules: microseconds, inline"),
        Step("recall", "answer from the exact or semantic cache, or join an identical call"),
        Step("admit", "a place in the queue, first come, first served", Admit(queue)),
        Step("guard", "input rails that are models, in parallel, while queued"),
        Step("remember", "session, user and global memory into the prompt"),
        Step("route", "order the deployments that can serve", Route(models)),
        Step("attempt", "take a seat, ask the engine, pass the answer on", Attempt(clock)),
    ]


class Pipeline:
    """The steps that are there, run in order."""

    def __init__(self, steps: Sequence[Step], clock: Clock) -> None:
        self.steps = steps
        self._clock = clock
        self._live = [step.stage for step in steps if step.stage is not None]
        wraps = [stage.wrap if isinstance(stage, _Wrapping) else None for stage in self._live]
        # By the stage that answers: only those before it, the nearest first.
        self._around = [[wrap for wrap in reversed(wraps[:at]) if wrap] for at in range(len(wraps))]
        names = [step.name.encode() for step in steps if step.stage is not None]
        # By how many stages have run.
        self._timing = [
            b", ".join(b"%b;dur=%%.3f" % name for name in [*names[:ran], b"total"])
            for ran in range(len(names) + 1)
        ]

    def timing(self, call: Call) -> bytes:
        """Milliseconds a stage, up to now, in the form of W3C Server Timing. The stage that answers is still at work."""
        now = self._clock()
        seconds = [*call.stage_s[:-1], now - call.answering_at, now - call.received_at]
        return self._timing[len(call.stage_s)] % tuple([1000 * s for s in seconds])

    async def run(self, call: Call) -> Reply:
        """Take a call down the way. Raises the GatewayError that refuses it. The caller closes `call.exit` at the end."""
        before = call.received_at
        for at, stage in enumerate(self._live):
            reply = await stage(call)
            now = self._clock()
            call.stage_s.append(now - before)
            if reply is not None:
                call.answering_at = before
                for wrap in self._around[at]:
                    reply.pieces = wrap(call, reply.pieces)
                return reply
            before = now
        raise AssertionError("the last step always answers")


@runtime_checkable
class _Wrapping(Protocol):
    def wrap(self, call: Call, pieces: AsyncIterator[Batch]) -> AsyncIterator[Batch]: ...
