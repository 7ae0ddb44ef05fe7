"""A LocalLimiter on clocks that a test sets."""

from __future__ import annotations

from tidegate.quotas.local import LocalLimiter
from tidegate.types import Limit, Ticket

START = 1_780_000_000.0


class World:
    """The limiter, and both of its clocks: `pass_s` lets time pass on them."""

    def __init__(self, **options: int) -> None:
        self.us = 5_000_000
        self.wall_ahead_s = 0.0  # where somebody has set the wall clock
        self.limiter = LocalLimiter(
            lambda: self.us / 1e6, lambda: START + self.us / 1e6 + self.wall_ahead_s, **options
        )

    @property
    def now(self) -> float:
        return self.us / 1e6

    def pass_s(self, seconds: float) -> None:
        self.us += round(seconds * 1e6)

    def reserve(self, *wants: tuple[Limit, int], until: float = 1e9) -> Ticket:
        limits, amounts = tuple(limit for limit, _ in wants), [amount for _, amount in wants]
        return self.limiter.reserve("call", limits, amounts, until=until)

    def used(self, level: str = "") -> dict[str, int]:
        return {one.limit.bucket: one.used for one in self.limiter.consumption(level)}

    def standing(self, ticket: Ticket) -> list[tuple[int, float]]:
        return [
            (left, self.limiter.resets_s(limit))
            for limit, left in zip(ticket.limits, ticket.left, strict=True)
        ]


def minute(level: str, most: int, burst: int = 0, unit: str = "tokens") -> Limit:
    return Limit(level, "x", f"{unit}_per_minute", most, burst=burst)
