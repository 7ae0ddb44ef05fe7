"""The result of a drill, as `--json` prints it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

from tidegate.ops.drill.figures import PhaseFigures, Second, Seen, TenantFigures
from tidegate.ops.drill.plan import KINDS, Act
from tidegate.ops.drill.verdict import Promise


class Example(msgspec.Struct, frozen=True):
    """One kind of error: how often it was seen, how often by each class, and one message."""

    error: str
    calls: int
    classes: dict[str, int]
    message: str

    @property
    def told(self) -> str:
        """The classes in words: `interactive 1, batch 278`."""
        return ", ".join(f"{name} {count:,}" for name, count in self.classes.items())


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


def examples(calls: Iterable[Seen]) -> list[Example]:
    """Return the kinds of errors, the most frequent one first."""
    found: defaultdict[str, list[Seen]] = defaultdict(list)
    for one in calls:
        if one.error:
            found[f"{one.outcome}: {one.error}"].append(one)
    return [
        Example(error, len(own), _by_class(own), own[-1].detail)
        for error, own in sorted(found.items(), key=lambda kind: -len(kind[1]))
    ]


def _by_class(calls: Iterable[Seen]) -> dict[str, int]:
    counts = Counter(one.kind for one in calls)
    return {kind.name: counts[kind.name] for kind in KINDS if counts[kind.name]}
