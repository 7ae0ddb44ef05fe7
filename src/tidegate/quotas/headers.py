"""The response headers that tell a client what remains of its limits.

There are two families: the `x-ratelimit-*` headers of OpenAI (https://platform.openai.com/docs/guides/rate-limits), and
`RateLimit` and `RateLimit-Policy` of the IETF (draft-ietf-httpapi-ratelimit-headers-11). Each tells of one limit of
requests and one of tokens. Of several limits, this is the one of which the least remains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from tidegate.types import Limit, Per, Unit

Headers = list[tuple[bytes, bytes]]
Counted = tuple[Limit, Unit]
"""A limit and what it counts."""

_NAMES = MappingProxyType({Unit.CALLS: b"requests", Unit.TOKENS: b"tokens"})
_WINDOW_S: Mapping[Per, int] = MappingProxyType({Per.MINUTE: 60, Per.DAY: 86_400})


class _Shown(msgspec.Struct, frozen=True):
    """A limit that headers can tell of: its place in the plan, and the parts of the headers that never change.

    For a limit for a minute, `capacity` is what it has when nothing is used, and `token_s` are the seconds in which it gets
    back one token. Both are 0 for a limit for a day.
    """

    place: int
    limit: Limit
    most: bytes
    name: bytes
    policy: bytes
    capacity: int
    token_s: float


class RateHeaders:
    """The headers for the limits of one plan."""

    def __init__(self, counted: Iterable[Counted]) -> None:
        """Compile the parts of the headers that never change."""
        shown: dict[Unit, list[_Shown]] = {}
        for place, (limit, unit) in enumerate(counted):
            if unit in _NAMES and limit.per in _WINDOW_S and limit.enforce:
                shown.setdefault(unit, []).append(_shown(place, limit, unit))
        self._shown = [
            (tuple([b"x-ratelimit-%b-%b" % (what, _NAMES[unit]) for what in _TOLD]), shown[unit])
            for unit in _NAMES
            if unit in shown
        ]

    def told(self, left: Sequence[int], resets_s: Callable[[Limit], float]) -> Headers:
        """Return the headers. `left` has what remains of each limit of the plan; `resets_s` is that of a Limiter."""
        headers: Headers = []
        policies = states = b""
        for (of_limit, of_remaining, of_reset), shown in self._shown:
            one = shown[0]
            remaining = left[one.place]
            for other in shown:
                if left[other.place] < remaining:
                    one, remaining = other, left[other.place]
            # What is missing from a bucket comes back at a constant rate. Only of a day it has to be asked when it ends.
            reset_s = (one.capacity - remaining) * one.token_s if one.token_s else resets_s(one.limit)
            rest = b"%d" % remaining if remaining > 0 else b"0"
            headers += ((of_limit, one.most), (of_remaining, rest), (of_reset, duration(reset_s)))
            policies += one.policy
            states += b"%b;r=%b;t=%d, " % (one.name, rest, -(-reset_s // 1))
        if headers:
            headers += ((b"ratelimit-policy", policies[:-2]), (b"ratelimit", states[:-2]))
        return headers


_TOLD = (b"limit", b"remaining", b"reset")


def _shown(place: int, limit: Limit, unit: Unit) -> _Shown:
    name = b'"%b.%b"' % (limit.level.encode(), limit.dimension.encode())
    policy = b'%b;q=%d;w=%d;qu="%b", ' % (name, limit.most, _WINDOW_S[limit.per], _NAMES[unit])
    minute = limit.per is Per.MINUTE
    capacity, token_s = (limit.burst or limit.most, 60 / limit.most) if minute else (0, 0.0)
    return _Shown(place, limit, b"%d" % limit.most, name, policy, capacity, token_s)


def duration(seconds: float) -> bytes:
    """Return a time as OpenAI writes it: `17ms`, `8.64s`, `6m0s`, `1h0m0s`. It is rounded up to milliseconds."""
    if seconds <= 0.999:
        return b"%dms" % -(-seconds * 1000 // 1)
    ms = int(-(-seconds * 1000 // 1))
    minutes, rest_ms = divmod(ms, 60_000)
    rest = b"%gs" % (rest_ms / 1000)
    if not minutes:
        return rest
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%b" % (hours, minutes, rest) if hours else b"%dm%b" % (minutes, rest)
