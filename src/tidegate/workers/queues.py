"""The queues of all workers as one. Each worker has its own queue, with its part of every engine's seats.

Numbers of calls, their work and their bounds are added up. The state and the utilization are the worst ones of any worker.
Since a client's call comes to any of the workers, a forecast is the one of the worker at which the call would wait longest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from tidegate.dispatch.forecast import Outlook
from tidegate.dispatch.state import (
    MOST_TENANTS,
    STATES,
    ClassState,
    EngineState,
    Glance,
    QueueState,
    Rejected,
    TenantState,
    WorkerState,
)

T = TypeVar("T", bound=msgspec.Struct)


def glances(heard: Sequence[Glance]) -> Glance:
    """Return the queues of all workers in a few numbers."""
    return Glance(
        max((one.state for one in heard), key=STATES.index, default=STATES[0]),
        max((one.utilization for one in heard), default=0.0),
        sum(one.size for one in heard),
        sum(one.max_size for one in heard),
        sum(one.rejected for one in heard),
    )


def together(heard: Mapping[int, QueueState], *, workers: int) -> QueueState:
    """Return the queues of all workers. `heard` has those of the workers that have answered, by number."""
    states = list(heard.values())
    tenants = sorted(_tenants(states), key=lambda one: -one.work)
    return QueueState(
        **msgspec.structs.asdict(glances(states)),
        work=sum(one.work for one in states),
        max_work=sum(one.max_work for one in states),
        bytes=sum(one.bytes for one in states),
        max_bytes=sum(one.max_bytes for one in states),
        rejections=_rejections(states),
        classes=_classes(states),
        tenants=tenants[:MOST_TENANTS],
        more_tenants=len(tenants) > MOST_TENANTS or any(one.more_tenants for one in states),
        engines=_engines(states),
        forecast=_worst(one.forecast for one in states if one.forecast is not None),
        workers=[_worker(number, one) for number, one in sorted(heard.items())],
        silent_workers=workers - len(heard),
    )


def _worker(number: int, one: QueueState) -> WorkerState:
    return WorkerState(
        one.state, one.utilization, one.size, one.max_size, one.rejected, number, one.work, one.bytes
    )


def _worst(forecasts: Iterable[Outlook]) -> Outlook | None:
    return max(forecasts, key=lambda one: (bool(one.refused), one.wait_s or 0.0, one.position), default=None)


def _alike(rows: Iterable[T], *names: str) -> list[list[T]]:
    """Group rows that have the same values of these fields, in the order in which they are met."""
    groups: dict[tuple[object, ...], list[T]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in names), []).append(row)
    return list(groups.values())


def _sums(rows: Sequence[T], *names: str) -> T:
    """Return the first row, with the sums of all rows in these fields. A sum is None if any part of it is."""
    sums: dict[str, float | None] = {}
    for name in names:
        parts = [getattr(row, name) for row in rows]
        sums[name] = None if None in parts else sum(parts)
    return msgspec.structs.replace(rows[0], **sums)


def _rejections(states: Iterable[QueueState]) -> list[Rejected]:
    rows = (row for one in states for row in one.rejections)
    return [_sums(found, "calls") for found in _alike(rows, "priority", "reason")]


def _classes(states: Iterable[QueueState]) -> list[ClassState]:
    rows = (row for one in states for row in one.classes)
    return [_sums(found, "waiting", "work") for found in _alike(rows, "priority")]


def _tenants(states: Iterable[QueueState]) -> list[TenantState]:
    rows = (row for one in states for row in one.tenants)
    return [_sums(found, "waiting", "work") for found in _alike(rows, "tenant", "priority")]


def _engines(states: Iterable[QueueState]) -> list[EngineState]:
    rows = (row for one in states for row in one.engines)
    return [_engine(found) for found in _alike(rows, "engine")]


def _engine(parts: Sequence[EngineState]) -> EngineState:
    forecasts = _alike((row for part in parts for row in part.forecast), "priority")
    least = min(parts, key=lambda part: part.limit or 0)
    return msgspec.structs.replace(
        _sums(parts, "in_flight", "limit", "most", "reserved", "waiting", "rate"),
        ready=all(part.ready for part in parts),
        why=least.why,
        forecast=[worst for found in forecasts if (worst := _worst(found)) is not None],
    )
