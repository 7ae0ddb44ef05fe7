"""The result of a load test, which is one JSON file. Figures have the names and the format of AIPerf's export.

A step is one level of load. Its `metrics` have the same keys and units as AIPerf's `profile_export_aiperf.json`, so the two
files can be compared. `figures.DEFINITIONS` explains the names that AIPerf does not have. Times of day are UTC.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

FORMAT = 1


class UnreadableResult(ValueError):
    """A file is not a result. The message names the file and the reason."""


class Metric(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The distribution of one figure. Rates and totals have only `avg`. `count` is the number of samples."""

    unit: str
    avg: float
    p1: float | None = None
    p5: float | None = None
    p10: float | None = None
    p25: float | None = None
    p50: float | None = None
    p75: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    min: float | None = None
    max: float | None = None
    std: float | None = None
    count: int | None = None


class Histogram(msgspec.Struct, kw_only=True):
    """A histogram. `counts[i]` samples are between `edges[i]` and `edges[i + 1]`; the edges are even on a log scale."""

    unit: str
    edges: list[float]
    counts: list[int]


class Second(msgspec.Struct, kw_only=True):
    """The figures of one second of a step. Times are in ms; None means that there is no measurement.

    `at_s` counts from the start of the whole run. Latencies belong to the second in which the request was due.
    """

    at_s: float
    sent: int
    finished: int
    failed: int
    in_flight: int
    output_tokens: int
    ttft_p50_ms: float | None = None
    ttft_p95_ms: float | None = None
    gap_p95_ms: float | None = None


class Check(msgspec.Struct, kw_only=True):
    """One criterion applied to one step. `limit` is in `unit`. `passed` is None if it cannot be judged; `note` says why."""

    name: str
    wanted: str
    limit: float | None = None
    value: float | None
    unit: str
    passed: bool | None
    note: str = ""


class Health(msgspec.Struct, kw_only=True):
    """The state of the load tester itself. `lag` has the delays in ms with which it sent requests.

    `cpu` is the share of one core that it used. If `degraded`, the figures measure the tester as much as the server.
    """

    cpu: float
    lag_p50_ms: float
    lag_p99_ms: float
    lag_max_ms: float
    degraded: bool
    why: str = ""


class Step(msgspec.Struct, kw_only=True):
    """One level of load. A closed loop has `users`, an open loop has `rate_per_s`."""

    name: str
    users: int | None = None
    rate_per_s: float | None = None
    began_s: float
    duration_s: float
    requests: int
    errors: dict[str, int]
    error_examples: dict[str, str]
    metrics: dict[str, Metric]
    histograms: dict[str, Histogram]
    timeline: list[Second]
    health: Health
    checks: list[Check]


class Result(msgspec.Struct, kw_only=True):
    """A whole run. `passed` is the verdict over all checks. `options` are the options of the command, with defaults."""

    format: int = FORMAT
    tool: str = "tidegate bench"
    version: str
    url: str
    model: str
    started_at: str
    options: dict[str, Any]
    definitions: dict[str, str]
    notes: list[str]
    steps: list[Step]
    passed: bool
    degraded: bool = False
    interrupted: bool = False


def write(result: Result, path: Path) -> None:
    """Write a result to a file. Raises OSError."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def read(path: Path) -> Result:
    """Read a result that `write` has written, or an export of AIPerf, which has one step. Raises UnreadableResult."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableResult(f"{path} cannot be read: {error.strerror}") from error
    try:
        if b'"tool"' in data[:4096]:
            return msgspec.json.decode(data, type=Result)
        return _from_aiperf(msgspec.json.decode(data, type=dict[str, Any]))
    except (msgspec.DecodeError, ValueError) as error:
        text = f"{path} is neither a result of `tidegate bench` nor an export of AIPerf: {error}"
        raise UnreadableResult(text) from error


def _from_aiperf(export: dict[str, Any]) -> Result:
    metrics: dict[str, Metric] = {}
    for name, value in export.items():
        if isinstance(value, dict) and "unit" in value and "avg" in value:
            metrics[name] = msgspec.convert(value, type=Metric, strict=False)
    if "request_latency" not in metrics:
        raise ValueError("it has no request_latency")
    count, duration = metrics.get("request_count"), metrics.get("benchmark_duration")
    step = Step(
        name="AIPerf",
        began_s=0.0,
        duration_s=duration.avg if duration else 0.0,
        requests=int(count.avg) if count else 0,
        errors={},
        error_examples={},
        metrics=metrics,
        histograms={},
        timeline=[],
        health=Health(cpu=0.0, lag_p50_ms=0.0, lag_p99_ms=0.0, lag_max_ms=0.0, degraded=False),
        checks=[],
    )
    return Result(
        tool="AIPerf",
        version=str(export.get("aiperf_version", "")),
        url="",
        model="",
        started_at=str(export.get("start_time", "")),
        options={},
        definitions={},
        notes=["Read from AIPerf's export."],
        steps=[step],
        passed=True,
    )
