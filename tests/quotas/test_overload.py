"""Ten times as much load as the limit admits. A checker judges the recorded history: no prefix and no minute exceeds it."""

from __future__ import annotations

import random
from heapq import heappop, heappush
from typing import NamedTuple

import pytest
from quota_history import US, History, overshoot, worst_minute
from quota_world import World

from tidegate.errors import RateLimited
from tidegate.types import Limit, Ticket

LEVELS = ["key", "user", "team", "organisation", "model"]
MOST = 60_000
BURST = MOST // 10
MINUTES = 5


class Run(NamedTuple):
    charged: History
    used: History
    """What each call has used, at the time at which it was admitted."""
    us: int


def overloaded(rng: random.Random, *, largest: int, share: tuple[float, float], seconds: float) -> Run:
    """Offer ten times the limit at five levels, and return what was charged and what was used.

    A call asks for up to `largest` tokens, uses a share of them, and takes up to `seconds`.
    """
    world, history, uses = World(), History(), History()
    limits = [Limit(level, "x", "tokens_per_minute", MOST, burst=BURST) for level in LEVELS]
    start, running = world.us, list[tuple[int, int, Ticket, int]]()
    gap = largest / 2 / (10 * MOST / 60)  # seconds between calls
    number = 0
    while world.us - start < MINUTES * US:
        world.pass_s(rng.uniform(0, 2 * gap))
        while running and running[0][0] <= world.us:
            _, _, ticket, used = heappop(running)
            world.limiter.settle(ticket, [used] * 5)
            history.append((world.us - start, used - ticket.amounts[0]))
        amount = rng.randint(1, largest)
        try:
            ticket = world.reserve(*[(limit, amount) for limit in limits])
        except RateLimited:
            continue
        number += 1
        used = int(amount * rng.uniform(*share))
        uses.append((world.us - start, used))
        history.append((world.us - start, amount))
        heappush(running, (world.us + int(rng.uniform(0, seconds) * 1e6), number, ticket, used))
    return Run(history, uses, world.us - start)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("largest", "share", "seconds"),
    [
        (BURST // 10, (1.0, 1.0), 1.0),
        (BURST // 10, (0.2, 1.0), 3.0),
        (BURST, (1.0, 1.0), 1.0),
        (BURST, (0.2, 1.0), 10.0),
    ],
)
def test_at_ten_times_the_load(seed: int, largest: int, share: tuple[float, float], seconds: float):
    run = overloaded(random.Random(seed), largest=largest, share=share, seconds=seconds)
    assert overshoot(run.charged, BURST, MOST) == 0
    assert overshoot(run.used, BURST, MOST) == 0
    assert worst_minute(run.charged) <= BURST + MOST
    assert sum(amount for _, amount in run.charged) >= 0.99 * MOST * run.us / US
    # Holds where a call gives back within seconds. What calls have used in a minute may be more where they take longer.
    assert worst_minute(run.used) <= BURST + MOST


@pytest.mark.parametrize("most_wait", [1, 10])
def test_calls_of_the_whole_burst_that_come_again_when_told(most_wait: int):
    """Ten times the limit, each call as large as the burst. A refused one tries again at the time of its Retry-After."""
    world, history, rng = World(), History(), random.Random(3)
    limits = [Limit(level, "x", "tokens_per_minute", MOST, burst=BURST) for level in LEVELS]
    start = world.us
    tries = [(start + at * 600_000, at) for at in range(MINUTES * 100)]
    waiting = 0
    while tries:
        at, number = heappop(tries)
        if at - start >= MINUTES * US:
            break
        world.us = max(world.us, at)
        try:
            ticket = world.reserve(*[(limit, BURST) for limit in limits])
        except RateLimited as error:
            if waiting < most_wait or number < 0:
                waiting += number >= 0
                heappush(tries, (world.us + round(error.retry_after_s * 1e6), -1 - rng.randrange(10**6)))
            continue
        waiting -= number < 0
        history.append((world.us - start, BURST))
        world.limiter.settle(ticket, [BURST] * 5)
    assert overshoot(history, BURST, MOST) == 0
    assert worst_minute(history) <= BURST + MOST
    assert sum(amount for _, amount in history) >= 0.99 * MOST * MINUTES


def test_the_checker_finds_what_it_looks_for():
    assert overshoot([(0, BURST + 1)], BURST, MOST) == 1
    assert overshoot([(0, BURST), (US, MOST + 5)], BURST, MOST) == 5
    assert worst_minute([(0, BURST), (US // 2, 7), (US, MOST)]) == BURST + 7 + MOST
    assert worst_minute([(0, BURST), (US // 2, 7), (US + 1, MOST)]) == MOST + 7
    assert worst_minute([(0, BURST), (US, 0), (2 * US, 5), (3 * US + 1, 6)]) == BURST
    assert worst_minute([(0, 50), (1, -50), (2, 50)]) == 50
