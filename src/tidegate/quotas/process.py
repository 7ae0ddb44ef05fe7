"""The quotas of one process: the parts that outlive a reload, so that a reload grants nothing extra."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from prometheus_client.core import Metric

from tidegate.ports import Clock, Limiter, Wall
from tidegate.quotas.estimate import OutputEstimate
from tidegate.quotas.lines import Lines
from tidegate.quotas.local import LocalLimiter
from tidegate.quotas.tally import Tally


class Quotas:
    """The limiter, what was learned of answers, the calls that wait, and the counts of what happened."""

    def __init__(self, clock: Clock, wall: Wall) -> None:
        """Make quotas of which nothing is used yet."""
        self.limiter: Limiter = LocalLimiter(clock, wall)
        self.estimate = OutputEstimate()
        self.lines = Lines()
        self.tally = Tally()
        self.generations = count(1)
        """A number for each configuration, so that the limits of a newer one are known from those of an older one."""

    def metrics(self) -> Iterable[Metric]:
        """Return the metrics of this moment."""
        return self.tally.metrics(self.limiter, self.lines)
