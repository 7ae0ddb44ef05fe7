"""Which fault an exchange with an engine meets. A plan depends on its seed and on the exchange, never on the machine."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass


class Kind(enum.Enum):
    """The ways in which a network or a server fails."""

    NONE = "none"
    LATENCY = "latency"  # the answer begins `seconds` late
    BANDWIDTH = "bandwidth"  # so many `bytes_per_s`
    SLOW_HEADERS = "slow_headers"  # the headers come byte by byte, `seconds` in all
    STATUS = (
        "status"  # an answer with `status` after `seconds`, and with Retry-After; the engine is not asked
    )
    REFUSE = "refuse"  # RST as soon as the request is there; the engine is not asked
    RESET = "reset"  # RST
    CLOSE = "close"  # FIN
    STALL = "stall"  # nothing more is sent; the engine goes on
    HALF_OPEN = "half_open"  # the engine is gone, and the gateway gets neither FIN nor data
    CUT_EVENT = "cut_event"  # the body ends inside an event, and HTTP is in order
    CUT_CHARACTER = "cut_character"  # the body ends inside a character of UTF-8, and HTTP is in order
    CUT_CHUNK = "cut_chunk"  # FIN inside the size of a chunk


BREAKS_OFF = frozenset(
    {
        Kind.RESET,
        Kind.CLOSE,
        Kind.STALL,
        Kind.HALF_OPEN,
        Kind.CUT_EVENT,
        Kind.CUT_CHARACTER,
        Kind.CUT_CHUNK,
    }
)
"""Kinds that leave an answer unfinished, after `after` parts of it."""
SLOWS = frozenset({Kind.LATENCY, Kind.BANDWIDTH, Kind.SLOW_HEADERS})
"""Kinds after which the answer is whole."""


@dataclass(frozen=True)
class Fault:
    """One fault. `after` counts the parts of the body that arrive before it: chunks, which are events here, or halves of
    a body of known length. With 0, it comes in place of the headers.
    """

    kind: Kind = Kind.NONE
    after: int = 0
    seconds: float = 0.0
    bytes_per_s: float = 20_000.0
    status: int = 503
    retry_after_s: float | None = None


SOUND = Fault()
Plan = Callable[[int], Fault]
"""The fault of an exchange by its number, counted from 0 for each proxy."""


def sound(number: int) -> Fault:
    """No faults."""
    del number
    return SOUND


def always(fault: Fault) -> Plan:
    """The same fault for every exchange."""
    return lambda number: fault


def by_chance(seed: str, share: float, kinds: Sequence[Kind], *, parts: int = 12) -> Plan:
    """A fault for this `share` of the exchanges, of any of the `kinds`, after up to so many `parts`."""

    def plan(number: int) -> Fault:
        chance = random.Random(f"{seed}/{number}")
        return drawn(chance, kinds, parts) if chance.random() < share else SOUND

    return plan


def drawn(chance: random.Random, kinds: Sequence[Kind], parts: int) -> Fault:
    """A fault by chance. A third of those that break off come in place of the headers."""
    kind = chance.choice(kinds)
    after = 0 if kind not in BREAKS_OFF or chance.random() < 1 / 3 else chance.randint(1, parts)
    status = chance.choice([500, 502, 503, 429])
    return Fault(
        kind,
        after=max(after, 1) if kind in {Kind.CUT_EVENT, Kind.CUT_CHARACTER, Kind.CUT_CHUNK} else after,
        seconds=chance.uniform(0.05, 0.3),
        bytes_per_s=chance.uniform(5_000, 50_000),
        status=status,
        retry_after_s=1.0 if status in {503, 429} else None,
    )
