"""The state of the queue now, for people to read: what waits, and what a new call would have to expect."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tidegate.dispatch.forecast import Outlook
from tidegate.dispatch.queue import Queue
from tidegate.dispatch.rules import Needs
from tidegate.dispatch.seats import Seats
from tidegate.kernel.fairqueue import OWN, Rule

STATES = ("healthy", "degraded", "overloaded")
"""The states of a queue, the best one first."""
INTERNAL = "(internal)"
"""The class of the gateway's own calls, for people. No configured class can have this name."""
MOST_TENANTS = 100
"""How many tenants are told at most: those with the most work that waits."""


class Inquiry(msgspec.Struct, frozen=True):
    """A call whose wait is asked for. `tokens` is its work: the tokens of its prompt, and twice those of its answer."""

    model: str
    priority: str
    tenant: str = ""
    tokens: int = 0


class Glance(msgspec.Struct, frozen=True):
    """The queue in a few numbers. `rejected` counts the refused calls since the start."""

    state: str
    utilization: float
    size: int
    max_size: int
    rejected: int


class Rejected(msgspec.Struct, frozen=True, rename={"priority": "class"}):
    """How many calls of a class were refused since the start, for one reason."""

    priority: str
    reason: str
    calls: int


class ClassState(msgspec.Struct, frozen=True, rename={"priority": "class"}):
    """A class of calls: its settings, the calls that wait, and their work in tokens."""

    priority: str
    share: float
    longest_wait_s: float
    waiting: int = 0
    work: float = 0.0


class TenantState(msgspec.Struct, frozen=True, rename={"priority": "class"}):
    """The calls of a tenant that wait in a class, and their work in tokens. `tenant` is empty for calls without a key."""

    tenant: str
    priority: str
    waiting: int
    work: float


class EngineState(msgspec.Struct, frozen=True):
    """The seats of an engine. `limit` holds now, and `most` is that of the configuration; None means that there is none.

    `rate` is the work that the engine gets through in a second with all its seats busy; None if it is not known.
    `forecast` is what a new call of each class has to expect that only this engine can serve.
    """

    engine: str
    ready: bool
    in_flight: int
    limit: int | None
    most: int | None
    reserved: int
    why: str
    waiting: int
    rate: float | None
    forecast: list[Outlook]


class WorkerState(Glance, frozen=True):
    """The queue of one of several workers."""

    worker: int
    work: float
    bytes: int


class QueueState(Glance, frozen=True, kw_only=True):
    """The whole state. `work` is in tokens, where a token of an answer counts as two.

    `forecast` answers the inquiry. `workers` and `silent_workers` are those of a gateway with several workers: the state of
    each that has answered, and the number of the others. `more_tenants` says whether tenants wait that are not listed.
    """

    work: float
    max_work: float
    bytes: int
    max_bytes: int
    rejections: list[Rejected]
    classes: list[ClassState]
    tenants: list[TenantState]
    more_tenants: bool = False
    engines: list[EngineState]
    forecast: Outlook | None = None
    workers: list[WorkerState] = []
    silent_workers: int = 0


def glance(queue: Queue) -> Glance:
    """Return the queue in a few numbers."""
    rejected = sum(queue.refusals.values())
    return Glance(queue.state, queue.bounds.utilization, queue.bounds.size, queue.rules.max_size, rejected)


def state_of(
    queue: Queue,
    engines: Mapping[str, Seats],
    inquiry: Inquiry | None = None,
    deployments: Sequence[Seats] = (),
) -> QueueState:
    """Return the state of a queue in front of these engines. `deployments` are those that could serve the inquiry."""
    rules, seen = queue.rules, glance(queue)
    tenants = _tenants(queue.bounds.waiting.values())
    return QueueState(
        **msgspec.structs.asdict(seen),
        work=queue.bounds.work,
        max_work=rules.max_work,
        bytes=queue.bounds.bytes,
        max_bytes=rules.max_bytes,
        rejections=rejections_of(queue),
        classes=classes_of(queue),
        tenants=tenants[:MOST_TENANTS],
        more_tenants=len(tenants) > MOST_TENANTS,
        engines=[_engine(queue, name, seats) for name, seats in engines.items()],
        forecast=None if inquiry is None else _answer(queue, inquiry, deployments),
    )


def rejections_of(queue: Queue) -> list[Rejected]:
    """Return how many calls were refused since the start."""
    return [Rejected(name or INTERNAL, reason, calls) for (name, reason), calls in queue.refusals.items()]


def classes_of(queue: Queue) -> list[ClassState]:
    """Return the classes in the order in which they go. Others are listed as long as their calls wait."""
    waiting, work = defaultdict[str, int](int), defaultdict[str, float](float)
    for needs in queue.bounds.waiting.values():
        waiting[needs.priority] += 1
        work[needs.priority] += needs.work
    rules = {rule.name: rule for rule in queue.rules.classes}
    listed = [*([OWN] if OWN in waiting else ()), *rules, *(waiting.keys() - rules.keys() - {OWN})]
    return [
        ClassState(
            name or INTERNAL,
            rules.get(name, Rule(name)).share,
            queue.rules.longest(name),
            waiting[name],
            work[name],
        )
        for name in listed
    ]


def _tenants(waiting: Iterable[Needs]) -> list[TenantState]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for needs in waiting:
        if needs.priority != OWN:
            found[needs.tenant, needs.priority].append(needs.work)
    tenants = [TenantState(tenant, name, len(calls), sum(calls)) for (tenant, name), calls in found.items()]
    return sorted(tenants, key=lambda one: -one.work)


def _engine(queue: Queue, name: str, seats: Seats) -> EngineState:
    rate = seats.rate(queue.clock())
    return EngineState(
        name,
        seats.ready,
        seats.in_flight,
        seats.limit,
        seats.most,
        seats.reserved,
        seats.why,
        seats.waiting,
        None if rate == float("inf") else rate,
        [queue.foretell(Needs(rule.name), [seats]) for rule in queue.rules.classes],
    )


def _answer(queue: Queue, inquiry: Inquiry, deployments: Sequence[Seats]) -> Outlook:
    return queue.foretell(Needs(inquiry.priority, inquiry.tenant, prompt=inquiry.tokens), deployments)
