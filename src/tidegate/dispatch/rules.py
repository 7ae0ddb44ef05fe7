"""The bounds of the queue and its classes of calls, as a configuration sets them."""

from __future__ import annotations

import msgspec

from tidegate.config import QueueConfig
from tidegate.kernel.fairqueue import Rule


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
