"""What the queue may hold, and what it holds."""

from __future__ import annotations

from tidegate.dispatch.rules import Needs, QueueRules


class Bounds:
    """The calls that wait, by rank, under the bounds of `rules`. `size`, `work` and `bytes` are their sums."""

    def __init__(self, rules: QueueRules) -> None:
        self.rules = rules
        self.size = 0
        self.work = 0.0
        self.bytes = 0
        self.waiting: dict[int, Needs] = {}

    def add(self, rank: int, needs: Needs) -> None:
        """Count a call as waiting."""
        self.waiting[rank] = needs
        self.size += 1
        self.work += needs.work
        self.bytes += needs.size_bytes

    def remove(self, rank: int) -> None:
        """Count a call as no longer waiting."""
        needs = self.waiting.pop(rank)
        self.size -= 1
        self.bytes -= needs.size_bytes
        self.work = self.work - needs.work if self.size else 0.0

    def full_with(self, needs: Needs) -> str | None:
        """Return the bound that one more call would exceed, None if it would not. A call alone exceeds no bound."""
        rules = self.rules
        if not self.size:
            return None
        if self.size >= rules.max_size:
            return "size"
        if self.work + needs.work > rules.max_work:
            return "work"
        return "bytes" if self.bytes + needs.size_bytes > rules.max_bytes else None

    @property
    def utilization(self) -> float:
        """The share of the fullest bound that is used."""
        rules = self.rules
        return max(self.size / rules.max_size, self.work / rules.max_work, self.bytes / rules.max_bytes)
