"""An hour of a real service without `max_tokens`, replayed against a limiter that has to estimate the answers.

`azure_2023_conv.csv.gz` is the conversation trace of Azure's LLM inference traces 2023 (Azure/AzurePublicDataset, published
under CC-BY 4.0): 19,366 requests in 58 minutes. It was made from the columns of `AzureLLMInferenceTrace_conv.csv`: the
milliseconds since the request before (from TIMESTAMP), ContextTokens and GeneratedTokens, without a header.

All figures are relative to a perfect oracle: the same limiter, which reserves exactly what a call is going to use.
`refused` is the share, among the calls that the oracle admits, of those that the estimate refuses. To see the figures, run
this file as a script with `PYTHONPATH=tests`.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache
from heapq import heappop, heappush
from pathlib import Path
from typing import NamedTuple

import pytest
from quota_history import History, overshoot, worst_minute
from quota_world import World

from tidegate.errors import RateLimited
from tidegate.quotas.estimate import OutputEstimate
from tidegate.quotas.levels import default_burst
from tidegate.types import Limit, Ticket

TRACE = Path(__file__).with_name("azure_2023_conv.csv.gz")
MOST = 540_000
"""1.2 times the mean of the trace. Its worst minute has 801,000 tokens."""
DURATIONS = [(0.2, 0.010), (0.3, 0.020), (0.5, 0.025), (0.5, 0.030), (1.0, 0.050), (2.0, 0.100)]
"""How long calls take: seconds until the first token, and seconds for each token."""


class Request(NamedTuple):
    at_us: int
    prompt: int
    answer: int


class Replay(NamedTuple):
    admitted: set[int]
    reserved: int
    used: int
    debt: int
    """The most that running calls were going to use beyond what they had reserved."""
    charged: History


Key = Callable[[int], str]
"""The key of a request by its number."""


def one_key(number: int) -> str:
    return "key"


@cache
def trace() -> tuple[Request, ...]:
    at_ms, found = 0, list[Request]()
    for line in gzip.decompress(TRACE.read_bytes()).decode().splitlines():
        since, prompt, answer = map(int, line.split(","))
        at_ms += since
        found.append(Request(at_ms * 1000, prompt, answer))
    return tuple(found)


def replay(
    requests: tuple[Request, ...],
    estimate: OutputEstimate | None,
    takes: tuple[float, float],
    key: Key = one_key,
) -> Replay:
    """Offer the requests to a limiter that reserves what `estimate` expects, or, without one, what will be used."""
    world = World()
    limit = Limit("key", "x", "tokens_per_minute", MOST, burst=default_burst(MOST, 0))
    start, running = world.us, list[tuple[int, int, Ticket, int]]()
    admitted, charged = set[int](), History()
    reserved = used = debt = most_debt = 0
    for number, (at_us, prompt, answer) in enumerate(requests):
        while running and running[0][0] <= at_us:
            ends_us, ended, ticket, beyond = heappop(running)
            world.us = start + ends_us
            world.limiter.settle(ticket, [requests[ended].prompt + requests[ended].answer])
            charged.append((ends_us, beyond))
            debt -= max(0, beyond)
            if estimate:
                estimate.learn(key(ended), "model", requests[ended].answer)
        world.us = start + at_us
        expected = estimate.expect(key(number), "model") if estimate else answer
        try:
            ticket = world.reserve((limit, prompt + expected))
        except RateLimited:
            continue
        admitted.add(number)
        reserved += prompt + expected
        used += prompt + answer
        charged.append((at_us, prompt + expected))
        debt += max(0, answer - expected)
        most_debt = max(most_debt, debt)
        ends_us = at_us + round((takes[0] + takes[1] * answer) * 1e6)
        heappush(running, (ends_us, number, ticket, answer - expected))
    return Replay(admitted, reserved, used, most_debt, charged)


@cache
def oracle() -> Replay:
    return replay(
        trace(), None, DURATIONS[0]
    )  # what is settled is what was reserved, so durations do not matter


class Figures(NamedTuple):
    reserved_of_used: float
    refused: float
    debt: float
    """As a share of the minute limit, as the next two."""
    overshoot: float
    worst_minute: float


def figures(run: Replay, perfect: Replay) -> Figures:
    burst = default_burst(MOST, 0)
    return Figures(
        run.reserved / run.used,
        len(perfect.admitted - run.admitted) / len(perfect.admitted),
        run.debt / MOST,
        overshoot(run.charged, burst, MOST) / MOST,
        worst_minute(run.charged) / MOST,
    )


def test_the_trace_is_the_whole_one():
    requests = trace()
    assert len(requests) == 19_366
    assert requests[-1].at_us == pytest.approx(3501.72e6, abs=1e4)
    assert sum(one.prompt + one.answer for one in requests) == 26_450_535


def test_the_oracle_is_refused_something():
    perfect = oracle()
    assert 0.95 * len(trace()) < len(perfect.admitted) < 0.99 * len(trace())
    assert figures(perfect, perfect)[:4] == (1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("takes", DURATIONS)
def test_an_hour_of_estimates(takes: tuple[float, float]):
    run = replay(trace(), OutputEstimate(), takes)
    found = figures(run, oracle())
    assert found.reserved_of_used <= 1.5, found
    assert found.refused <= 0.02, found
    assert run.used >= 0.99 * oracle().used, found
    # The bound of the page about quotas: what is charged exceeds B + r * t by no more than the debt.
    assert found.overshoot <= found.debt, found
    assert found.worst_minute <= 1.1 + found.debt, found
    assert found.debt <= 0.1, found


@pytest.mark.parametrize("keys", [2, 20, 500, 5000, 20_000])
def test_an_hour_of_many_keys(keys: int):
    """Most keys are always cold when there are thousands. The keys share one limit here, as the keys of a team do."""
    run = replay(trace(), OutputEstimate(), (0.5, 0.025), lambda number: f"key{number * 7919 % keys}")
    found = figures(run, oracle())
    assert found.reserved_of_used <= 1.1, found
    assert found.refused <= 0.02, found


def test_a_cold_start():
    """The first five minutes alone, of which the first calls reserve what nobody has learned yet."""
    first = tuple(one for one in trace() if one.at_us < 300e6)
    for takes in DURATIONS:
        found = figures(replay(first, OutputEstimate(), takes), replay(first, None, takes))
        assert found.reserved_of_used <= 1.1, found
        assert found.refused <= 0.02, found


def changed(answer: Callable[[int, int], int]) -> tuple[Request, ...]:
    """The trace with other answers, and with prompts that leave the sum of each minute about as it was."""
    return tuple(
        Request(at_us, max(1, prompt + tokens - answer(number, tokens)), answer(number, tokens))
        for number, (at_us, prompt, tokens) in enumerate(trace())
    )


HALF = 9_683


@pytest.mark.parametrize(
    "answer",
    [
        lambda number, tokens: tokens * 5 if number > HALF else tokens,
        lambda number, tokens: tokens if number > HALF else tokens * 5,
        lambda number, tokens: tokens * (1 + number * 4 // (2 * HALF)),
        lambda number, tokens: tokens * 5 if number // 2000 % 2 else tokens,
        lambda number, tokens: 10 if number * 7919 % 10 else 1000,
        lambda number, tokens: 5 if number * 7919 % 4 else 700,
        lambda number, tokens: 0,
    ],
    ids=["up", "down", "slowly up", "to and fro", "bimodal", "bimodal 4", "none"],
)
def test_answers_that_drift_or_differ(answer: Callable[[int, int], int]):
    requests = changed(answer)
    found = figures(replay(requests, OutputEstimate(), (0.5, 0.025)), replay(requests, None, (0.5, 0.025)))
    assert found.reserved_of_used <= 1.1, found
    assert found.refused <= 0.04, found
    assert found.overshoot <= found.debt, found


if __name__ == "__main__":
    for duration in DURATIONS:
        print(duration, figures(replay(trace(), OutputEstimate(), duration), oracle()))
