"""What all workers have consumed of limits, added up. Each worker enforces its part of every limit (`quotas.divide`)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.config import Config, limits_of
from tidegate.quotas.consumed import Consumed, has_limits
from tidegate.types import Consumption


def added_up(heard: Sequence[Consumed], config: Config, *, workers: int) -> Consumed:
    """Return the consumption of all workers. `heard` is what the workers that answered have consumed.

    `config` is the configuration of the whole gateway. The part of a worker that does not name a limit counts as unused.
    """
    parts: dict[str, list[Consumption]] = {}
    for one in heard:
        for part in one.limits:
            parts.setdefault(part.limit.bucket, []).append(part)
    return Consumed(
        [_whole(found, config, workers) for found in parts.values()],
        has_limits(config),
        complete=all(one.complete for one in heard),
        silent=workers - len(heard),
    )


def _whole(parts: Sequence[Consumption], config: Config, workers: int) -> Consumption:
    """Return the consumption of a limit from that of its parts. Not every worker has used some of it."""
    limit, used, scale = parts[0].limit, sum(part.used for part in parts), workers / len(parts)
    most = _configured(config, limit.dimension, sum(part.limit.most for part in parts) * scale)
    burst = min(most, round(sum(part.limit.burst for part in parts) * scale))
    return Consumption(
        msgspec.structs.replace(limit, most=most, burst=burst),
        used,
        (burst or most) - used,
        max(part.resets_s for part in parts),
        max(part.since for part in parts),
    )


def _configured(config: Config, dimension: str, estimate: float) -> int:
    """Return the configured amount that is nearest. Parts are whole numbers, so the estimate may be off by a few."""
    unit = 1_000_000 if dimension.startswith("usd_") else 1
    amounts = [getattr(limits, dimension, None) for _, limits in limits_of(config)]
    return min(
        (round(amount * unit) for amount in amounts if amount is not None),
        key=lambda amount: abs(amount - estimate),
        default=round(estimate),
    )
