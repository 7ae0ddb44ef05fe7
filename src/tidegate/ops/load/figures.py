"""Computes the figures from the samples. Every definition is in this module, and each result contains the definitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.ops.load.result import Health, Histogram, Metric, Second
from tidegate.ops.load.run import Record
from tidegate.ops.load.sample import Sample

DEFINITIONS = {
    "time_to_first_token": "From sending a request to its first chunk with content (text, reasoning, refusal or part of a "
    "tool call). As AIPerf.",
    "time_to_first_token_from_schedule": "The same, but from when the request was due. It includes the time that the "
    "request waited to be sent, so a stalled server cannot hide by delaying the tester (no coordinated omission).",
    "inter_token_latency": "For each request: (last content - first content) / (tokens - 1). Answers in one chunk "
    "have none. As AIPerf if the first chunk has one token; AIPerf subtracts all tokens of the first chunk.",
    "inter_chunk_latency": "Every pause between two chunks with content, of all requests. It shows stalls that a mean "
    "hides. As AIPerf.",
    "time_per_output_token": "For each request: (end of the stream - first content) / (tokens - 1). As vLLM's and "
    "inference-perf's TPOT.",
    "request_latency": "From sending a request to its last chunk with content. As AIPerf.",
    "request_latency_from_schedule": "The same, but from when the request was due.",
    "request_throughput": "Complete answers per second, from the start of the step to its last answer. Time spent "
    "waiting for an answer that never arrives is not counted beyond the planned length of the step.",
    "output_token_throughput": "Tokens of complete answers per second, over the same time.",
    "output_token_throughput_per_user": "For each request: 1 / inter_token_latency.",
    "input_sequence_length": "Prompt tokens as the server counts them (usage.prompt_tokens).",
    "output_sequence_length": "Tokens of an answer as the server counts them, or else its chunks with content.",
    "cached_prompt_tokens": "Prompt tokens that the server had in a cache (usage.prompt_tokens_details.cached_tokens).",
    "request_count": "Complete answers.",
    "error_fraction": "Share of the requests that got no complete answer.",
    "goodput": "Complete answers per second within every limit of --slo.",
    "good_request_fraction": "Share of all requests, failed ones included, with an answer within every limit of --slo.",
}

_BINS = 60
# The smallest number of requests for which a pace is computed.
_FEW = 20
_PERCENTILES = {
    "p1": 1.0, "p5": 5.0, "p10": 10.0, "p25": 25.0, "p50": 50.0, "p75": 75.0,
    "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9,
}  # fmt: skip

Values = NDArray[np.float64]


class Pace(msgspec.Struct, frozen=True):
    """Requests per second: the rate at which they were due, and the rate at which they were answered."""

    offered: float
    answered: float


class Slo(msgspec.Struct, frozen=True):
    """The limits of a good answer in ms; None means no limit."""

    ttft_ms: float | None = None
    itl_ms: float | None = None
    latency_ms: float | None = None

    @property
    def set(self) -> bool:
        """Whether at least one limit is set."""
        return any(limit is not None for limit in (self.ttft_ms, self.itl_ms, self.latency_ms))

    def kept_by(self, sample: Sample) -> bool:
        """Return whether an answer is complete and within every limit.

        An answer without content fails a limit of the TTFT. An answer in a single chunk has no ITL, and passes that limit.
        """
        if self.ttft_ms is not None and not sample.contents:
            return False
        pairs = (
            (self.ttft_ms, sample.ttft),
            (self.itl_ms, sample.itl),
            (self.latency_ms, sample.latency),
        )
        return sample.ok and all(
            limit is None or value is None or value * 1000 <= limit for limit, value in pairs
        )


def distribution(values: Sequence[float] | Values, unit: str) -> Metric | None:
    """Return the statistics of a list of values, or None for an empty one. Percentiles are interpolated as in numpy."""
    data = np.asarray(values, dtype=np.float64)
    if not data.size:
        return None
    cut = np.percentile(data, list(_PERCENTILES.values()))
    return Metric(
        unit=unit,
        avg=float(data.mean()),
        min=float(data.min()),
        max=float(data.max()),
        std=float(data.std()),
        count=int(data.size),
        **{name: float(value) for name, value in zip(_PERCENTILES, cut, strict=True)},
    )


def metrics(record: Record, slo: Slo) -> dict[str, Metric]:
    """Return the figures of DEFINITIONS that this step measured."""
    good = [sample for sample in record.samples if sample.ok]
    streamed = [sample for sample in good if sample.contents]
    elapsed = _elapsed(record, good)
    itls = _present(sample.itl for sample in streamed)
    late = {
        "time_to_first_token_from_schedule": [s.contents[0] - s.due for s in streamed],
        "request_latency_from_schedule": [s.latency + s.sent - s.due for s in good],
    }
    times = {
        "time_to_first_token": [s.contents[0] - s.sent for s in streamed],
        "inter_token_latency": itls,
        "inter_chunk_latency": gaps(streamed),
        "time_per_output_token": _present(s.tpot for s in streamed),
        "request_latency": [s.latency for s in good],
        **late,
    }
    found = {name: distribution(np.asarray(values) * 1000, "ms") for name, values in times.items()}
    counts = {
        "input_sequence_length": [s.prompt_tokens for s in good if s.prompt_tokens],
        "output_sequence_length": [s.output_tokens for s in good],
        "cached_prompt_tokens": [s.cached_tokens for s in good if s.prompt_tokens],
    }
    found |= {name: distribution(values, "tokens") for name, values in counts.items()}
    per_user = [1 / itl for itl in itls if itl > 0]
    found["output_token_throughput_per_user"] = distribution(per_user, "tokens/sec/user")
    rates = _rates(record, good, elapsed, slo)
    return {name: metric for name, metric in found.items() if metric is not None} | rates


def _rates(record: Record, good: list[Sample], elapsed: float, slo: Slo) -> dict[str, Metric]:
    total = len(record.samples)
    tokens = sum(sample.output_tokens for sample in good)
    rates = {
        "request_throughput": Metric(unit="requests/sec", avg=len(good) / elapsed),
        "output_token_throughput": Metric(unit="tokens/sec", avg=tokens / elapsed),
        "request_count": Metric(unit="requests", avg=len(good)),
        "error_fraction": Metric(unit="ratio", avg=(total - len(good)) / total if total else 0.0),
    }
    if slo.set:
        kept = sum(slo.kept_by(sample) for sample in record.samples)
        rates["goodput"] = Metric(unit="requests/sec", avg=kept / elapsed)
        rates["good_request_fraction"] = Metric(unit="ratio", avg=kept / total if total else 0.0)
    return rates


def _elapsed(record: Record, good: list[Sample]) -> float:
    """Return the time until the last complete answer. A request that hangs until its timeout must not lower the rates."""
    planned = min(record.ended, record.began + record.step.duration_s)
    return max(max((sample.done for sample in good), default=0.0), planned) - record.began or 1e-9


def pace(samples: Sequence[Sample]) -> Pace | None:
    """Return the rates at which requests were due and answered, between the tenth and the ninetieth percent of each.

    Over the whole time of a step, a server would seem too slow, because its last answers arrive after the last request was
    due. Returns None for too few requests, and if all were due or answered at the same time.
    """
    good = [sample for sample in samples if sample.ok]
    if len(samples) < _FEW or not good:
        return None
    whole = _middle(sample.due for sample in samples)
    due, done = _middle(sample.due for sample in good), _middle(sample.done for sample in good)
    if not whole or not done:
        return None
    offered = 0.8 * len(samples) / whole
    return Pace(offered=offered, answered=offered * len(good) / len(samples) * due / done)


def _middle(moments: Iterable[float]) -> float:
    """Return the seconds between the tenth and the ninetieth percentile of the times."""
    low, high = np.percentile(list(moments), (10, 90))
    return float(high - low)


def gaps(samples: Iterable[Sample]) -> Values:
    """Return the seconds between chunks with content."""
    parts = [
        np.diff(np.frombuffer(sample.contents, dtype=np.float64)) for sample in samples if sample.contents
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def histograms(record: Record) -> dict[str, Histogram]:
    """Return histograms of the three main figures."""
    good = [sample for sample in record.samples if sample.ok]
    streamed = [sample for sample in good if sample.contents]
    kinds = {
        "time_to_first_token": np.asarray([s.contents[0] - s.sent for s in streamed]),
        "inter_chunk_latency": gaps(streamed),
        "request_latency": np.asarray([s.latency for s in good]),
    }
    return {name: histogram(values * 1000) for name, values in kinds.items() if values.size}


def histogram(values: Values) -> Histogram:
    """Return a histogram of milliseconds with bins of equal width on a log scale."""
    positive = np.maximum(values, 1e-3)
    low, high = float(positive.min()), float(positive.max())
    edges = np.geomspace(low * 0.999, max(high, low * 1.01) * 1.001, _BINS + 1)
    counts, _ = np.histogram(positive, bins=edges)
    return Histogram(
        unit="ms", edges=[float(edge) for edge in edges], counts=[int(count) for count in counts]
    )


def errors(samples: Iterable[Sample]) -> tuple[dict[str, int], dict[str, str]]:
    """Return the number of errors of each kind, and one message for each kind."""
    counted: Counter[str] = Counter()
    example: dict[str, str] = {}
    for sample in samples:
        if not sample.ok:
            counted[sample.error] += 1
            example.setdefault(sample.error, sample.detail)
    return dict(counted.most_common()), example


def health(record: Record, ttft: Metric | None) -> Health:
    """Return whether the tester distorted its figures: it used up its core, or sent late by over a twentieth of TTFT."""
    elapsed = max(record.ended - record.began, 1e-9)
    lag = distribution(np.asarray(record.lags) * 1000, "ms") or Metric(unit="ms", avg=0, p50=0, p99=0, max=0)
    cpu = record.cpu_s / elapsed
    late = (lag.p99 or 0) > max(10.0, 0.05 * (ttft.p50 or 0) if ttft else 0)
    reasons = [f"it used {cpu:.0%} of a core"] * (cpu > 0.95) + [
        f"it was late by {lag.p99:.0f} ms (p99)"
    ] * late
    return Health(
        cpu=cpu,
        lag_p50_ms=lag.p50 or 0.0,
        lag_p99_ms=lag.p99 or 0.0,
        lag_max_ms=lag.max or 0.0,
        degraded=bool(reasons),
        why=" and ".join(reasons),
    )


def timeline(record: Record, run_began: float) -> list[Second]:
    """Return the figures of each second of the step. A request's latencies belong to the second in which it was due."""
    seconds = max(1, int(np.ceil(record.ended - record.began)))
    due: list[list[Sample]] = [[] for _ in range(seconds)]
    sent, finished, failed, tokens, change = ([0] * (seconds + 1) for _ in range(5))
    for sample in record.samples:
        first, last = (_second(moment, record, seconds) for moment in (sample.sent, sample.done))
        due[_second(sample.due, record, seconds)].append(sample)
        sent[first] += 1
        change[first] += 1
        change[last] -= 1
        finished[last] += sample.ok
        failed[last] += not sample.ok
        for moment in sample.contents:
            tokens[_second(moment, record, seconds)] += 1
    under_way = np.cumsum(change)
    return [
        Second(
            at_s=record.began - run_began + index,
            sent=sent[index],
            finished=finished[index],
            failed=failed[index],
            in_flight=int(under_way[index]),
            output_tokens=tokens[index],
            **_latencies(due[index]),
        )
        for index in range(seconds)
    ]


def _second(moment: float, record: Record, seconds: int) -> int:
    return min(max(int(moment - record.began), 0), seconds - 1)


def _latencies(samples: list[Sample]) -> dict[str, float]:
    streamed = [sample for sample in samples if sample.contents]
    if not streamed:
        return {}
    ttfts = np.asarray([sample.contents[0] - sample.due for sample in streamed]) * 1000
    found = {
        "ttft_p50_ms": float(np.percentile(ttfts, 50)),
        "ttft_p95_ms": float(np.percentile(ttfts, 95)),
    }
    pauses = gaps(streamed)
    return found | ({"gap_p95_ms": float(np.percentile(pauses, 95)) * 1000} if pauses.size else {})


def _present(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
