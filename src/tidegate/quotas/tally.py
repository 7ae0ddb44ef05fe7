"""Counts of what the quotas did, for the metrics. Labels are levels and dimensions, never names of tenants."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, Metric

from tidegate.errors import RateLimited
from tidegate.ports import Limiter
from tidegate.quotas.consumed import MOST_READ
from tidegate.quotas.lines import Lines
from tidegate.telemetry.metrics import counter, gauge
from tidegate.types import Ticket

_LABELS = ("level", "dimension")


class Tally:
    """Counts reservations, refusals, and calls that exceeded a limit which is not enforced."""

    def __init__(self) -> None:
        self._reservations = 0
        self._refusals: dict[tuple[str, str], int] = {}
        self._over: dict[tuple[str, str], int] = {}

    def reserved(self, ticket: Ticket) -> None:
        """Count a reservation."""
        self._reservations += 1
        for limit in ticket.over:
            label = (limit.level, limit.dimension)
            self._over[label] = self._over.get(label, 0) + 1

    def refused(self, error: RateLimited) -> None:
        """Count a refusal by the limit that it names."""
        label = (error.at, error.dimension)
        self._refusals[label] = self._refusals.get(label, 0) + 1

    def metrics(self, limiter: Limiter, lines: Lines) -> Iterable[Metric]:
        """Return the counts, and the debt and the waiting calls of this moment."""
        yield counter("quota_reservations", "Calls for which quota was reserved.", self._reservations)
        yield _by_limit("quota_refusals", "Calls that a limit refused.", self._refusals)
        yield _by_limit("quota_over", "Calls that exceeded a limit which is not enforced.", self._over)
        debts = _debts(limiter)
        yield gauge(
            "quota_debt", "What was used beyond limits; money in US dollars.", _LABELS, list(debts.items())
        )
        yield gauge("quota_waiting", "Calls that wait for quota.", (), [((), lines.waiting)])


def _debts(limiter: Limiter) -> dict[tuple[str, str], float]:
    """Add up what was used beyond limits. A limit that is not enforced needs nothing to be paid back."""
    debts: dict[tuple[str, str], float] = {}
    for one in limiter.consumption(most=MOST_READ):
        limit = one.limit
        if one.left < 0 and limit.enforce:
            label, debt = (limit.level, limit.dimension), -one.left
            debts[label] = debts.get(label, 0) + (debt / 1e6 if limit.money else debt)
    return debts


def _by_limit(name: str, meaning: str, counts: dict[tuple[str, str], int]) -> Metric:
    family = CounterMetricFamily(f"tidegate_{name}", meaning, labels=_LABELS)
    for label, count in counts.items():
        family.add_metric(label, count)
    return family
