"""The bounds of the queue, and what the queue has to know of a call."""

from __future__ import annotations

import msgspec

from tidegate.config import QueueConfig
from tidegate.kernel.fairqueue import INPUT, OUTPUT, Rule


class QueueRules(msgspec.Struct, frozen=True):
    """The bounds of the queue: calls, their work in tokens, the bytes of their bodies, and the longest wait of any call.

    `classes` are the classes of calls in the order in which they go. Over the share `warn` of a bound, the queue is
    degraded.
    """

    max_size: int = 1000
    max_work: float = 10_000_000
    max_bytes: int = 256 * 2**20
    longest_wait_s: float = 600.0
    warn: float = 0.8
    classes: tuple[Rule, ...] = ()

    def longest(self, priority: str) -> float:
        """Return the longest wait in seconds of a call of a class."""
        for rule in self.classes:
            if rule.name == priority:
                return min(rule.longest_wait_s, self.longest_wait_s)
        return self.longest_wait_s


def rules_of(config: QueueConfig) -> QueueRules:
    """Return the bounds of a configuration."""
    return QueueRules(
        max_size=config.max_size,
        max_work=config.max_work_tokens,
        max_bytes=config.max_bytes,
        longest_wait_s=config.enqueue_timeout_s,
        warn=config.warn_threshold,
        classes=tuple(Rule(name, one.share, one.longest_wait_s) for name, one in config.classes.items()),
    )


class Needs(msgspec.Struct, frozen=True):
    """What the queue has to know of a call. `tenant` shares a class fairly with the others; `group` is its policy's name.

    `prompt` and `completion` are tokens, `size_bytes` is the size of the body, and `deadline` is in seconds of the clock.
    """

    priority: str
    tenant: str = ""
    group: str = ""
    prompt: int = 0
    completion: int = 0
    size_bytes: int = 0
    deadline: float = float("inf")

    @property
    def work(self) -> float:
        """The work of the call in tokens of input, at least one."""
        return float(max(1, INPUT * self.prompt + OUTPUT * self.completion))
