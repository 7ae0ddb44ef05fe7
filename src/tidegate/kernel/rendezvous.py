"""Weighted rendezvous hashing: an order of places for each key that barely changes when a place comes or goes. Pure.

Each place gets a number that depends on the key and the place alone, and the places are ordered by their numbers (Thaler
and Ravishankar, "Using name-based mappings to increase hit rates", 1998). When a place leaves, its keys go to the places
that came second for them, and no other key moves. With the number `-weight / ln(u)`, where `u` is uniform in (0, 1), a
place comes first for a share of the keys that is proportional to its weight (Schindelhauer and Schomaker, "Weighted
distributed hash tables", 2005).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import log

_RANGE = 2**64


def ranked(key: int, places: Sequence[tuple[str, float]]) -> list[int]:
    """Return the indexes of the places, given as names and weights, in the order in which they come for a key.

    Every process gives the same order. `key` has 64 bits, and weights are over 0.
    """
    own = key.to_bytes(8, "big")
    scores = [_score(own, name, weight) for name, weight in places]
    return sorted(range(len(places)), key=scores.__getitem__, reverse=True)


def _score(key: bytes, name: str, weight: float) -> float:
    number = int.from_bytes(blake2b(name.encode(), digest_size=8, key=key).digest(), "big")
    return -weight / log((number + 0.5) / _RANGE) if number + 0.5 < _RANGE else float("inf")
