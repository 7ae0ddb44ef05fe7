"""Ten times as much load as the limit admits. A checker judges the recorded history: no prefix and no minute exceeds it."""

from __future__ import annotations

import random
from collections import deque
from heapq import heappop, heappush
from typing import NamedTuple

import pytest
from quota_world import World

from tidegate.errors import RateLimited
from tidegate.types import Limit, Ticket

LEVELS = ["key", "user", "team", "organisation", "model"]
MOST = 60_000
BURST = MOST // 10
MINUTES = 5
US = 60_000_000
History = list[tuple[int, int]]
"""When tokens were charged, in microseconds from the start, and how many: negative where they were given back."""


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
            history.append((world.us - start, used - ticket.wants[0].amount))
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


def overshoot(history: History, burst: int) -> float:
    """The most by which a prefix of the history exceeds burst + rate * time, in tokens."""
    charged, most = 0, 0.0
    for at, amount in history:
        charged += amount
        most = max(most, charged - burst - MOST * at / US)
    return most


def worst_minute(history: History) -> int:
    """The most that was charged within any minute, less what was given back in it."""
    worst, total = 0, 0
    lowest = deque([(0, 0)])  # sums before an entry within the last minute, rising
    for at, amount in history:
        while lowest[-1][1] >= total and len(lowest) > 1:
            lowest.pop()
        lowest.append((at, total))
        while lowest[0][0] < at - US or (len(lowest) > 1 and lowest[1][1] <= lowest[0][1]):
            lowest.popleft()
        total += amount
        worst = max(worst, total - lowest[0][1])
    return worst


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
    assert overshoot(run.charged, BURST) == 0
    assert overshoot(run.used, BURST) == 0
    assert worst_minute(run.charged) <= BURST + MOST
    assert sum(amount for _, amount in run.charged) >= 0.99 * MOST * run.us / US
    # Holds where a call gives back within seconds. What calls have used in a minute may be more where they take longer.
    assert worst_minute(run.used) <= BURST + MOST


def test_the_checker_finds_what_it_looks_for():
    assert overshoot([(0, BURST + 1)], BURST) == 1
    assert overshoot([(0, BURST), (US, MOST + 5)], BURST) == 5
    assert worst_minute([(0, BURST), (US // 2, 7), (US, MOST)]) == BURST + 7 + MOST
    assert worst_minute([(0, BURST), (US // 2, 7), (US + 1, MOST)]) == MOST + 7
    assert worst_minute([(0, BURST), (US, 0), (2 * US, 5), (3 * US + 1, 6)]) == BURST
    assert worst_minute([(0, 50), (1, -50), (2, 50)]) == 50
