"""The way of a request, in order. Read this file first.

Each stage is one callable in `stages/`. A stage that returns nothing lets the call go on; a Reply answers it; a
GatewayError refuses it. A stage that also has `wrap` watches or changes the answers of the stages behind it on their way
back, the last stage's wrap first; `observe` notes each batch as it leaves. What a stage takes for a call it pushes on
`call.exit`, which gives everything back, last in first out, before the last byte leaves.

The first stages run on the head of a request, before its body is read: a stranger is refused without it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from tidegate.call import Call
from tidegate.dispatch.deployments import Models
from tidegate.dispatch.queue import Queue
from tidegate.policy import DEFAULT, Policy
from tidegate.ports import Clock, Sink, Wall
from tidegate.stages.admit import Admit
from tidegate.stages.attempt import Attempt
from tidegate.stages.authenticate import Authenticate
from tidegate.stages.observe import Observe
from tidegate.stages.route import Route
from tidegate.types import Batch, Reply

Work = Callable[[Call], Awaitable[Reply | None] | Reply | None]
"""What a stage does with a call: None lets it go on, a Reply answers it, a GatewayError refuses it.

A stage that waits for something is an `async def`. One that never waits is a plain function: a coroutine costs every call.
"""


class Stage(msgspec.Struct, frozen=True):
    """One place on the way. `work` None: the place is kept, nothing stands there yet."""

    name: str
    does: str
    work: Work | None = None
    on_head: bool = False

    @property
    def foretell(self) -> Callable[[Call], str] | None:
        """Tells what the stage would do, and does not do it; None where there is nothing to say beyond `does`."""
        return self.work.foretell if isinstance(self.work, _Foretelling) else None


class Parts(msgspec.Struct, frozen=True):
    """What the stages work with: what a snapshot has of its own, and what it borrows from the runtime."""

    clock: Clock
    wall: Wall
    sinks: Sequence[Sink]
    policies: Mapping[str, Policy]
    models: Models
    queue: Queue


def _no_time() -> float:
    return 0.0


NO_PARTS = Parts(_no_time, _no_time, (), {DEFAULT: Policy()}, Models({}), Queue(_no_time))
"""To list the stages without a gateway."""


def the_way(parts: Parts) -> list[Stage]:
    """Every stage from the head of a request to the engine and back."""
    clock = parts.clock
    return [
        Stage("observe", "times and outcome of every call", Observe(parts.sinks, clock), on_head=True),
        Stage(
            "authenticate",
            "who calls, and the policy that applies",
            Authenticate(parts.policies[DEFAULT]),
            on_head=True,
        ),
        Stage("limit", "reserve requests, tokens and money at every level"),
        Stage("account", "the ledger: intent now, settlement at the end"),
        Stage("screen", "input rails that are rules: microseconds, inline"),
        Stage("recall", "answer from the exact or semantic cache, or join an identical call"),
        Stage("admit", "a place in the queue, first come, first served", Admit(parts.queue)),
        Stage("guard", "input rails that are models, in parallel, while queued"),
        Stage("remember", "session, user and global memory into the prompt"),
        Stage("route", "order the deployments that can serve", Route(parts.models)),
        Stage("attempt", "take a seat, ask the engine, pass the answer on", Attempt(clock)),
    ]


class Pipeline:
    """The stages that are there, run in order."""

    def __init__(self, stages: Sequence[Stage], clock: Clock) -> None:
        self.stages = stages
        self._clock = clock
        live = [(stage, stage.work) for stage in stages if stage.work is not None]
        self._works = [work for _, work in live]
        self._on_head = sum(stage.on_head for stage, _ in live)
        self._head = self._works[: self._on_head]
        names = [stage.name for stage in stages]
        # By a stage's name: the first that is there from it on.
        self._from = {
            name: sum(stage.work is not None for stage in stages[:at]) for at, name in enumerate(names)
        }
        # What leaves is noted by a function and not by a wrap: one more iterator would cost every chunk.
        self.note = next((work.note for work in self._works if isinstance(work, _Noting)), _note_nothing)
        self._wraps = [work.wrap if isinstance(work, _Wrapping) else None for work in self._works]
        # By the stage that answers: only those before it, the nearest first.
        self._around = [self._before(at) for at in range(len(live))]
        # By how many stages have run.
        self._timing = [
            b", ".join(
                [b"%b;dur=%%.3f" % stage.name.encode() for stage, _ in live[:ran]] + [b"total;dur=%.3f"]
            )
            for ran in range(len(live) + 1)
        ]

    def timing(self, call: Call) -> bytes:
        """Milliseconds a stage, up to now, in the form of W3C Server Timing. The stage that answers is still at work."""
        now = self._clock()
        took = call.stage_ms
        at_work_ms, total_ms = 1000 * (now - call.answering_at), 1000 * (now - call.received_at)
        return self._timing[len(took)] % (*took[:-1], at_work_ms, total_ms)

    async def greet(self, call: Call) -> None:
        """Take a call through the stages on its head. Raises the GatewayError that refuses it."""
        before, clock, took = call.arrived_at, self._clock, call.stage_ms
        for work in self._head:
            waiting = work(call)
            if waiting is not None:
                assert not isinstance(waiting, Reply), "nothing is answered on the head alone"
                await waiting
            now = clock()
            took.append(1000 * (now - before))
            before = now

    async def run(self, call: Call, *, begin: str = "") -> Reply:
        """Take a call down the rest of the way, or from the stage `begin` on. Raises the GatewayError that refuses it.

        Whoever runs it closes `call.exit` at the end.
        """
        first = self._from[begin] if begin else self._on_head
        before, clock, works, took = call.received_at, self._clock, self._works, call.stage_ms
        for at in range(first, len(works)):
            reply = works[at](call)
            if reply is not None and not isinstance(reply, Reply):
                reply = await reply
            now = clock()
            took.append(1000 * (now - before))
            if reply is not None:
                call.answering_at = before
                for wrap in self._around[at] if not begin else self._before(at, first):
                    reply.pieces = wrap(call, reply.pieces)
                return reply
            before = now
        raise AssertionError("the last stage always answers")

    def _before(self, at: int, first: int = 0) -> list[Wrap]:
        """The wraps of the stages from `first` up to the one that answers, the nearest first."""
        return [wrap for wrap in reversed(self._wraps[first:at]) if wrap is not None]


Wrap = Callable[[Call, AsyncIterator[Batch]], AsyncIterator[Batch]]


def _note_nothing(call: Call, batch: Batch) -> None:
    del call, batch


@runtime_checkable
class _Noting(Protocol):
    def note(self, call: Call, batch: Batch) -> None: ...


@runtime_checkable
class _Wrapping(Protocol):
    def wrap(self, call: Call, pieces: AsyncIterator[Batch]) -> AsyncIterator[Batch]: ...


@runtime_checkable
class _Foretelling(Protocol):
    def foretell(self, call: Call) -> str: ...
