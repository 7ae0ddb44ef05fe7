"""The path of a request through the gateway, stage by stage. Read this file first.

Each stage is one callable in `stages/`. A stage that returns None passes the call on to the next one. A stage that returns
a Reply answers the call. A stage that raises a GatewayError refuses it. A stage may also have `wrap`, which watches or
changes the answers of later stages on their way back; the wrap of the last stage runs first. `observe` notes each batch
when it is sent. A stage that takes a resource for a call pushes the release on `call.exit`, which runs all releases, last
in first out, before the last byte is sent.

The first stages run on the head of a request, before its body is read. So a client without access is refused before the
gateway holds its body.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import msgspec

from tidegate.caches.answers import Answers
from tidegate.call import Call
from tidegate.config import StructureConfig
from tidegate.dispatch.deployments import Models
from tidegate.dispatch.queue import Queue
from tidegate.policy import DEFAULT, Policies, Policy
from tidegate.ports import Clock, Sink, Wall
from tidegate.quotas.estimate import OutputEstimate
from tidegate.quotas.process import Quotas
from tidegate.stages.admit import Admit
from tidegate.stages.attempt import Attempt
from tidegate.stages.authenticate import Authenticate
from tidegate.stages.check import CheckTexts
from tidegate.stages.counting import Counting
from tidegate.stages.guard import Guard
from tidegate.stages.limit import Limiting
from tidegate.stages.moderate import Moderate
from tidegate.stages.observe import Observe
from tidegate.stages.railed import Railed
from tidegate.stages.recall import Recall
from tidegate.stages.route import Route
from tidegate.stages.screen import Screen
from tidegate.types import Batch, Reply

Work = Callable[[Call], Awaitable[Reply | None] | Reply | None]
"""The work of a stage: returning None passes the call on, returning a Reply answers it, raising a GatewayError refuses it.

A stage that awaits is an `async def`. A stage that never awaits is a plain function, since a coroutine has a cost per call.
"""


class Stage(msgspec.Struct, frozen=True):
    """One stage of the pipeline. `work` is None for a stage that is planned but not built yet.

    An `idle` stage has nothing to do under this configuration, so it is not run.
    """

    name: str
    does: str
    work: Work | None = None
    on_head: bool = False
    idle: bool = False

    @property
    def foretell(self) -> Callable[[Call], str] | None:
        """The function that describes, in a dry run, what the stage would do to a call. None if `does` is enough."""
        return self.work.foretell if isinstance(self.work, _Foretelling) else None


class Parts(msgspec.Struct, frozen=True):
    """The parts that the stages use: the snapshot's own parts, and parts that the snapshot borrows from the runtime.

    `rail_sinks` are told of what rails find. `sinks` has them too if the calls to engines have rails.
    """

    clock: Clock
    wall: Wall
    sinks: Sequence[Sink]
    authenticate: Authenticate
    limit: Limiting
    recall: Recall
    models: Models
    queue: Queue
    lengths: OutputEstimate
    railed: Railed
    screens: bool = False
    guards: bool = False
    structures: Mapping[str, StructureConfig] = MappingProxyType({})
    rail_sinks: Sequence[Sink] = ()


def _no_time() -> float:
    return 0.0


_NO_MODELS = Models({})
NO_PARTS = Parts(
    _no_time,
    _no_time,
    (),
    Authenticate(Policies({DEFAULT: Policy()})),
    Limiting(Quotas(_no_time, _no_time), Counting(_NO_MODELS), _no_time),
    Recall(Answers(_no_time), _NO_MODELS, _no_time),
    _NO_MODELS,
    Queue(_no_time),
    OutputEstimate(),
    Railed(_NO_MODELS, _no_time, _no_time, b""),
)
"""Empty parts, for listing the stages without a gateway."""


def the_way(parts: Parts) -> list[Stage]:
    """Return every stage in order, from the head of a request to the engine."""
    clock, models, lengths = parts.clock, parts.models, parts.lengths
    return [
        Stage("observe", "times and outcome of every call", Observe(parts.sinks, clock), on_head=True),
        Stage(
            "authenticate",
            "who calls, and the policy that applies",
            parts.authenticate,
            on_head=True,
        ),
        Stage(
            "limit", "reserve requests, tokens and money at every level", parts.limit, idle=parts.limit.idle
        ),
        Stage("account", "the ledger: intent now, settlement at the end"),
        Stage(
            "screen",
            "input rails that are rules: microseconds, inline",
            Screen(parts.railed),
            idle=not parts.screens,
        ),
        Stage("recall", "answer an idempotency key, or join its running answer", parts.recall),
        Stage(
            "admit",
            "a place in the queue, if the wait is not too long",
            Admit(parts.queue, parts.models, parts.lengths),
        ),
        Stage(
            "guard",
            "input rails that are models, in parallel, while queued",
            Guard(parts.railed),
            idle=not parts.guards,
        ),
        Stage("remember", "session, user and global memory into the prompt"),
        Stage("route", "order the deployments that can serve", Route(models, lengths, parts.structures)),
        Stage(
            "attempt",
            "take a seat, ask the engine, pass the answer on",
            Attempt(clock, parts.lengths, parts.models, parts.railed),
        ),
    ]


def way_of_checks(parts: Parts) -> list[Stage]:
    """Return every stage of a check, for which no engine is asked."""
    first = [stage for stage in the_way(parts) if stage.name in ("observe", "authenticate", "limit")]
    return [*first, Stage("check", "rails on the texts of the request", CheckTexts(parts.railed))]


def way_of_moderations(parts: Parts) -> list[Stage]:
    """Return every stage of a moderation, for which no engine is asked but by rails."""
    sinks = [*parts.sinks, *(one for one in parts.rail_sinks if one not in parts.sinks)]
    observe, *others = [
        stage for stage in the_way(parts) if stage.name in ("observe", "authenticate", "limit")
    ]
    observe = msgspec.structs.replace(observe, work=Observe(sinks, parts.clock))
    moderate = Moderate(parts.railed, parts.authenticate.policies.moderators)
    return [observe, *others, Stage("moderate", "what the rails of a profile say of each input", moderate)]


class Pipeline:
    """Runs the stages that are built, in order."""

    def __init__(self, stages: Sequence[Stage], clock: Clock) -> None:
        self.stages = stages
        self._clock = clock
        live = [(stage, stage.work) for stage in stages if stage.work is not None and not stage.idle]
        self._works = [work for _, work in live]
        self._on_head = sum(stage.on_head for stage, _ in live)
        self._head = self._works[: self._on_head]
        names = [stage.name for stage in stages]
        # For each stage name, the index of the first built stage at or after that stage.
        self._from = {
            name: sum(stage.work is not None and not stage.idle for stage in stages[:at])
            for at, name in enumerate(names)
        }
        # A function notes the batches that are sent. A wrap would add an iterator, which has a cost per chunk.
        self.note = next((work.note for work in self._works if isinstance(work, _Noting)), _note_nothing)
        self._wraps = [work.wrap if isinstance(work, _Wrapping) else None for work in self._works]
        # For each stage that may answer, the wraps of the stages before it, the nearest stage first.
        self._around = [self._before(at) for at in range(len(live))]
        # For each number of stages that have run, the format of the Server-Timing header.
        self._timing = [
            b", ".join(
                [b"%b;dur=%%.3f" % stage.name.encode() for stage, _ in live[:ran]] + [b"total;dur=%.3f"]
            )
            for ran in range(len(live) + 1)
        ]

    def timing(self, call: Call) -> bytes:
        """Return the milliseconds that each stage has taken so far, as a W3C Server-Timing value.

        The time of the answering stage is included, although that stage still runs.
        """
        now = self._clock()
        took = call.stage_ms
        at_work_ms, total_ms = 1000 * (now - call.answering_at), 1000 * (now - call.received_at)
        return self._timing[len(took)] % (*took[:-1], at_work_ms, total_ms)

    async def greet(self, call: Call) -> None:
        """Run the stages that need only the head of the request. Raises the GatewayError that refuses the call."""
        before, clock, took = call.arrived_at, self._clock, call.stage_ms
        for work in self._head:
            waiting = work(call)
            if waiting is not None:
                assert not isinstance(waiting, Reply), "a stage on the head never answers"
                await waiting
            now = clock()
            took.append(1000 * (now - before))
            before = now

    async def run(self, call: Call, *, begin: str = "") -> Reply:
        """Run the remaining stages, or those from the stage `begin` on. Raises the GatewayError that refuses the call.

        The caller has to close `call.exit` at the end.
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
        """Return the wraps of the stages from `first` up to the one before `at`, the nearest to `at` first."""
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
