"""The result of a drill, as `--json` prints it."""

from __future__ import annotations

import msgspec

from tidegate.ops.drill.figures import PhaseFigures, Second, TenantFigures
from tidegate.ops.drill.plan import Act
from tidegate.ops.drill.verdict import Promise


class Example(msgspec.Struct, frozen=True):
    """One kind of error: how often it was seen, and one message."""

    error: str
    calls: int
    message: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A whole drill. `kept` says whether every promise was kept. `late_ms` is the p99 of how late the calls were sent."""

    version: str
    started_at: str
    seconds: float
    seed: int
    kept: bool
    promises: list[Promise]
    phases: list[PhaseFigures]
    tenants: list[TenantFigures]
    errors: list[Example]
    acts: list[Act]
    timeline: list[Second]
    late_ms: float
    notes: list[str] = []
