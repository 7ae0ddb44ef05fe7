"""Checkers of a recorded history: what was charged to one limit, and when."""

from __future__ import annotations

from collections import deque

US = 60_000_000
"""A minute in microseconds."""
History = list[tuple[int, int]]
"""When tokens were charged, in microseconds from the start, and how many: negative where they were given back."""


def overshoot(history: History, burst: int, most: int) -> float:
    """The most by which a prefix of the history exceeds burst + rate * time, in tokens."""
    charged, worst = 0, 0.0
    for at, amount in history:
        charged += amount
        worst = max(worst, charged - burst - most * at / US)
    return worst


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
