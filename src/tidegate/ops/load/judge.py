"""The verdict: checks each criterion against each step."""

from __future__ import annotations

import msgspec

from tidegate.ops.load.figures import Pace
from tidegate.ops.load.plan import Closed, Step
from tidegate.ops.load.result import Check, Metric


class Criteria(msgspec.Struct, frozen=True, kw_only=True):
    """The criteria for a step; None switches one off. Latencies are in ms, `errors` and `throughput` are fractions.

    `throughput` is a fraction of the rate that the step should reach. For an open loop, this is the rate at which requests
    were due. For a closed loop, it is `target_rps` times the step's users, divided by the largest number of users of any
    step; without a target, the throughput of a closed loop is not judged.
    """

    ttft_p95_ms: float | None = 2000.0
    itl_p95_ms: float | None = 100.0
    errors: float | None = 0.01
    throughput: float | None = 0.9
    target_rps: float | None = None


def judge(
    step: Step,
    metrics: dict[str, Metric],
    criteria: Criteria,
    *,
    pace: Pace | None,
    most_users: int,
    streamed: bool = True,
) -> list[Check]:
    """Check one step against every criterion that is on. For an open loop, the throughput is the `pace` of its answers."""
    first = metrics.get("time_to_first_token")
    # A stream without content is complete. But a server that sends only such streams has not really answered.
    answers = metrics["request_count"].avg if not streamed else first.count or 0 if first else 0
    checks = [Check(name="answers", wanted="≥ 1", limit=1, value=answers, unit="", passed=answers >= 1)]
    if criteria.ttft_p95_ms is not None:
        ttft = metrics.get("time_to_first_token_from_schedule")
        checks.append(_below("TTFT p95", ttft and ttft.p95, criteria.ttft_p95_ms, unit="ms"))
    if criteria.itl_p95_ms is not None:
        itl = metrics.get("inter_token_latency")
        checks.append(_below("ITL p95", itl and itl.p95, criteria.itl_p95_ms, unit="ms"))
    if criteria.errors is not None:
        share = metrics["error_fraction"].avg * 100
        checks.append(_few("errors", share, criteria.errors * 100))
    if criteria.throughput is not None:
        if isinstance(step, Closed):
            checks.append(_owed(step, metrics, criteria, most_users))
        else:
            checks.append(_kept_up(pace, criteria))
    return checks


def passed(checks: list[Check]) -> bool:
    """Return whether no check failed. A check that could not be judged has not failed; its note says why."""
    return all(check.passed is not False for check in checks)


def _below(name: str, value: float | None, limit: float, *, unit: str) -> Check:
    wanted = f"< {limit:g} {unit}"
    if value is None:
        return Check(
            name=name, wanted=wanted, limit=limit, value=None, unit=unit, passed=None, note="not measured"
        )
    return Check(name=name, wanted=wanted, limit=limit, value=value, unit=unit, passed=value < limit)


def _few(name: str, value: float, limit: float) -> Check:
    """Check like `_below`, in percent. A limit of 0 means that the value must be 0."""
    if limit:
        return _below(name, value, limit, unit="%")
    return Check(name=name, wanted="none", limit=0, value=value, unit="%", passed=not value)


def _owed(step: Closed, metrics: dict[str, Metric], criteria: Criteria, most_users: int) -> Check:
    value = metrics["request_throughput"].avg
    if criteria.target_rps is None:
        return _unjudged(value, "a closed loop is judged only with --target")
    return _throughput(value, criteria, criteria.target_rps * step.users / most_users)


def _kept_up(pace: Pace | None, criteria: Criteria) -> Check:
    if pace is None:
        return _unjudged(None, "too few requests to judge, or all at once")
    target = criteria.target_rps
    share = min(pace.offered, target) if target is not None else pace.offered
    return _throughput(pace.answered, criteria, share)


def _unjudged(value: float | None, note: str) -> Check:
    return Check(name="throughput", wanted="", value=value, unit="req/s", passed=None, note=note)


def _throughput(value: float, criteria: Criteria, share: float) -> Check:
    limit = (criteria.throughput or 0.0) * share
    wanted = f"≥ {limit:.4g} req/s"
    good = value >= limit
    return Check(name="throughput", wanted=wanted, limit=limit, value=value, unit="req/s", passed=good)
