"""The figures of a drill, computed from the calls that were seen. All functions are pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from tidegate.ops.drill.plan import KINDS, TENANTS, Plan, Tenant, kind_of
from tidegate.ops.load.sample import Sample

Outcome = Literal["whole", "shed", "failed", "broken", "cut"]
"""What became of a call.

`whole`: a complete answer. `shed`: refused by the gateway, since its capacity was used up. `failed`: an error before the
first token. `broken`: an error event after it. `cut`: the stream ended without saying that it was not complete.
"""
OUTCOMES: tuple[Outcome, ...] = ("whole", "shed", "failed", "broken", "cut")
EngineState = Literal["up", "killed", "starting", "slow"]
_SHED = "overloaded"
_SILENT = frozenset({"truncated", "broken_off", "timeout"})


class Seen(msgspec.Struct, frozen=True):
    """A call that has ended. Times are in seconds from the start of the load; `ttft_s` counts from when the call was due.

    `tokens` are those that the client received.
    """

    tenant: str
    kind: str
    at_s: float
    done_s: float
    outcome: Outcome
    ttft_s: float | None = None
    tokens: int = 0
    error: str = ""
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether the answer is whole, and its first token came within the limit of its class."""
        return (
            self.outcome == "whole" and self.ttft_s is not None and self.ttft_s <= kind_of(self.kind).limit_s
        )


class EngineNow(msgspec.Struct, frozen=True):
    """An engine at one moment. `breaker` is empty and `retries` None if the gateway does not tell them."""

    name: str
    state: EngineState
    in_flight: int = 0
    limit: int | None = None
    requests: int = 0
    breaker: str = ""
    retries: int | None = None


class Now(msgspec.Struct, frozen=True):
    """The gateway and its engines at one moment. `failovers` is None if the gateway does not tell them."""

    at_s: float
    engines: list[EngineNow]
    waiting: int = 0
    queue: str = ""
    failovers: int | None = None


class ClassFigures(msgspec.Struct, frozen=True):
    """The figures of some calls of one class. Latencies are in ms, and None without an answer."""

    kind: str
    sent: int
    good: int
    outcomes: dict[str, int]
    ttft_p50_ms: float | None
    ttft_p99_ms: float | None


class TenantFigures(msgspec.Struct, frozen=True):
    """What a tenant got. `share` is its part of all tokens."""

    tenant: str
    kind: str
    sent: int
    served: int
    shed: int
    tokens: int
    share: float


class PhaseFigures(msgspec.Struct, frozen=True):
    """The figures of one phase: of the calls that came in it."""

    name: str
    about: str
    begin_s: float
    end_s: float
    classes: list[ClassFigures]


class Second(msgspec.Struct, frozen=True):
    """One second. Calls belong to the second in which they came, tokens to the one in which their answer ended."""

    at_s: int
    sent: int
    good: int
    shed: int
    failed: int
    ttft_p99_ms: dict[str, float]
    tokens: dict[str, int]
    now: Now | None


def seen(sample: Sample, tenant: Tenant, began: float) -> Seen:
    """Return a call as the client saw it. `began` is the start of the load on the clock of the sample."""
    return Seen(
        tenant=tenant.name,
        kind=tenant.kind,
        at_s=sample.due - began,
        done_s=sample.done - began,
        outcome=outcome_of(sample),
        ttft_s=sample.contents[0] - sample.due if sample.contents else None,
        tokens=max(sample.output_tokens, len(sample.contents)),
        error=sample.error,
        detail=sample.detail,
    )


def outcome_of(sample: Sample) -> Outcome:
    """Return what became of a call."""
    if sample.ok:
        return "whole"
    if not sample.contents and _says_overloaded(sample):
        return "shed"
    # A stream that begins well and ends without a word is a lie, even if it had no token yet.
    if sample.error == "truncated" or (sample.contents and sample.error in _SILENT):
        return "cut"
    return "broken" if sample.contents else "failed"


def _says_overloaded(sample: Sample) -> bool:
    if sample.error == "http_503":
        return sample.detail.endswith(f"({_SHED})")
    return sample.error == "error_event" and f'"{_SHED}"' in sample.detail


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the value that the given share of the values does not exceed, or None without values."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None


def good_share(calls: Sequence[Seen]) -> float | None:
    """Return the share of good calls, or None without calls."""
    return sum(one.good for one in calls) / len(calls) if calls else None


def came(calls: Iterable[Seen], begin_s: float, end_s: float) -> list[Seen]:
    """Return the calls that came in this time."""
    return [one for one in calls if begin_s <= one.at_s < end_s]


def by_class(calls: Sequence[Seen]) -> list[ClassFigures]:
    """Return the figures of each class, in the order in which they go."""
    return [_class(kind.name, [one for one in calls if one.kind == kind.name]) for kind in KINDS]


def _class(name: str, calls: list[Seen]) -> ClassFigures:
    ttfts = [one.ttft_s * 1000 for one in calls if one.ttft_s is not None]
    outcomes = {what: sum(one.outcome == what for one in calls) for what in OUTCOMES}
    good = sum(one.good for one in calls)
    return ClassFigures(name, len(calls), good, outcomes, percentile(ttfts, 0.5), percentile(ttfts, 0.99))


def by_tenant(calls: Sequence[Seen]) -> list[TenantFigures]:
    """Return what each tenant got."""
    total = sum(one.tokens for one in calls)
    found: list[TenantFigures] = []
    for tenant in TENANTS:
        own = [one for one in calls if one.tenant == tenant.name]
        served = sum(one.outcome == "whole" for one in own)
        shed = sum(one.outcome == "shed" for one in own)
        tokens = sum(one.tokens for one in own)
        share = tokens / total if total else 0.0
        found.append(TenantFigures(tenant.name, tenant.kind, len(own), served, shed, tokens, share))
    return found


def by_phase(plan: Plan, calls: Sequence[Seen]) -> list[PhaseFigures]:
    """Return the figures of each phase."""
    return [
        PhaseFigures(
            phase.name,
            phase.about,
            phase.begin_s,
            phase.end_s,
            by_class(came(calls, phase.begin_s, phase.end_s)),
        )
        for phase in plan.phases
    ]


def by_second(seconds: float, calls: Sequence[Seen], moments: Sequence[Now]) -> list[Second]:
    """Return the timeline: one entry for each second of the load."""
    return [_second(at, calls, moments) for at in range(math.ceil(seconds))]


def _second(at: int, calls: Sequence[Seen], moments: Sequence[Now]) -> Second:
    own = came(calls, at, at + 1)
    p99 = {one.kind: one.ttft_p99_ms for one in by_class(own) if one.ttft_p99_ms is not None}
    tokens = dict.fromkeys((tenant.name for tenant in TENANTS), 0)
    for one in calls:
        if at <= one.done_s < at + 1:
            tokens[one.tenant] += one.tokens
    return Second(
        at_s=at,
        sent=len(own),
        good=sum(one.good for one in own),
        shed=sum(one.outcome == "shed" for one in own),
        failed=sum(one.outcome in {"failed", "broken", "cut"} for one in own),
        ttft_p99_ms=p99,
        tokens=tokens,
        now=next((now for now in reversed(moments) if at <= now.at_s < at + 1), None),
    )
