"""The limits of a caller: how much may be consumed at once where a policy does not say."""

from __future__ import annotations


def default_burst(per_minute: int, largest_call: int) -> int:
    """Return the capacity of a bucket for a minute: a tenth of the limit, or the largest call that a policy admits.

    `largest_call` is 0 where the policy has no such bound. A call that exceeds the minute limit is never admitted, so the
    burst never exceeds it either.
    """
    return min(per_minute, max(-(-per_minute // 10), largest_call))
