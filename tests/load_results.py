"""Made-up results of load tests, computed from a seed, for the tests of the report and the comparison."""

from __future__ import annotations

import math
import random

from tidegate.ops.load.figures import DEFINITIONS, distribution, histogram
from tidegate.ops.load.result import Check, Health, Metric, Result, Second, Step

WELL = Health(cpu=0.31, lag_p50_ms=0.2, lag_p99_ms=1.4, lag_max_ms=6.0, degraded=False)


def result(
    users: tuple[int, ...] = (10, 50, 100, 200), *, seed: int = 1, slower: float = 1.0, seconds: int = 30
) -> Result:
    """Return a closed-loop run of a server that is full at about 120 users. `slower` multiplies every latency."""
    rng = random.Random(seed)
    steps = [
        step(rng, users=n, began_s=i * (seconds + 1.5), slower=slower, seconds=seconds)
        for i, n in enumerate(users)
    ]
    return whole(steps)


def whole(steps: list[Step], **changed: object) -> Result:
    fields: dict[str, object] = {
        "version": "0.1.0",
        "url": "http://127.0.0.1:8080/v1",
        "model": "SmolLM2-135M-Instruct",
        "started_at": "2026-11-21T22:05:09+00:00",
        "options": {
            "users": [10, 50, 100, 200],
            "duration_s": 30,
            "model": "",
            "shape": {"input_tokens": 200, "output_tokens": 64},
        },
        "definitions": DEFINITIONS,
        "notes": ["Token counts are the server's own (usage in the last chunk)."],
        "steps": steps,
        "passed": all(check.passed is not False for step in steps for check in step.checks),
    }
    return Result(**{**fields, **changed})


def step(rng: random.Random, *, users: int, began_s: float, slower: float, seconds: int) -> Step:
    full = max(1.0, users / 120) ** 1.6
    rate = min(users / (0.4 * slower), 120 / (0.4 * slower))
    count = int(rate * seconds)
    median = 52 * slower * full
    ttft = [
        median * rng.lognormvariate(0, 0.22) * (6 if rng.random() < 0.012 * full else 1) for _ in range(count)
    ]
    late = [value + (rng.random() * 30 * (full - 1)) for value in ttft]
    itl = [5.1 * slower * math.sqrt(full) * rng.lognormvariate(0, 0.08) for _ in range(count)]
    gaps = [value * rng.lognormvariate(0, 0.3) for value in itl for _ in range(3)]
    gaps += [rng.uniform(80, 190) * slower for _ in range(count // 60)]
    total = [a + b * 63 for a, b in zip(ttft, itl, strict=True)]
    failed = int(count * 0.021) if users > 150 else 0
    metrics = {
        "time_to_first_token": distribution(ttft, "ms"),
        "time_to_first_token_from_schedule": distribution(late, "ms"),
        "inter_token_latency": distribution(itl, "ms"),
        "inter_chunk_latency": distribution(gaps, "ms"),
        "time_per_output_token": distribution(itl, "ms"),
        "request_latency": distribution(total, "ms"),
        "request_throughput": Metric(unit="requests/sec", avg=(count - failed) / seconds),
        "output_token_throughput": Metric(unit="tokens/sec", avg=(count - failed) / seconds * 64),
        "request_count": Metric(unit="requests", avg=count - failed),
        "error_fraction": Metric(unit="ratio", avg=failed / count),
        "goodput": Metric(unit="requests/sec", avg=sum(value < 120 for value in ttft) / seconds),
        "good_request_fraction": Metric(unit="ratio", avg=sum(value < 120 for value in ttft) / count),
    }
    errors = {"429 rate_limited": failed - failed // 3, "timeout": failed // 3} if failed else {}
    return Step(
        name=f"{users} users",
        users=users,
        began_s=began_s,
        duration_s=float(seconds),
        requests=count,
        errors=errors,
        error_examples={"429 rate_limited": '{"error":{"message":"Too many requests"}}'} if failed else {},
        metrics={name: metric for name, metric in metrics.items() if metric},
        histograms={
            "time_to_first_token": histogram(_array(ttft)),
            "inter_chunk_latency": histogram(_array(gaps)),
            "request_latency": histogram(_array(total)),
        },
        timeline=[_second(rng, began_s + i, rate, median, users, failed / seconds) for i in range(seconds)],
        health=WELL,
        checks=_checks(metrics),
    )


def _second(rng: random.Random, at_s: float, rate: float, median: float, users: int, failed: float) -> Second:
    done = max(0, round(rng.gauss(rate, math.sqrt(rate))))
    stalled = int(at_s) % 17 == 16
    return Second(
        at_s=at_s,
        sent=max(0, round(rng.gauss(rate, math.sqrt(rate)))),
        finished=done,
        failed=round(failed * rng.random() * 2),
        in_flight=users,
        output_tokens=done * 64,
        ttft_p50_ms=median * rng.lognormvariate(0, 0.05),
        ttft_p95_ms=median * rng.lognormvariate(0.4, 0.12) * (2.2 if stalled else 1),
        gap_p95_ms=rng.lognormvariate(2.1, 0.1) * (9 if stalled else 1),
    )


def _checks(metrics: dict[str, Metric | None]) -> list[Check]:
    ttft, itl = metrics["time_to_first_token_from_schedule"], metrics["inter_token_latency"]
    assert ttft is not None
    assert itl is not None
    errors = metrics["error_fraction"].avg * 100
    note = "a closed loop has a share only of a --target"
    return [
        Check(
            name="TTFT p95",
            wanted="< 150 ms",
            limit=150,
            value=ttft.p95,
            unit="ms",
            passed=(ttft.p95 or 0) < 150,
        ),
        Check(
            name="ITL p95",
            wanted="< 100 ms",
            limit=100,
            value=itl.p95,
            unit="ms",
            passed=(itl.p95 or 0) < 100,
        ),
        Check(name="errors", wanted="< 1 %", limit=1, value=errors, unit="%", passed=errors < 1),
        Check(name="throughput", wanted="", value=1.0, unit="req/s", passed=None, note=note),
    ]


def _array(values: list[float]):
    import numpy as np

    return np.asarray(values, dtype=np.float64)
