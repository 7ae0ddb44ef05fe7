"""Writes rows of the kinds, the same ones for the same seed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from random import Random
from typing import Final

from training.generate.kinds import Kind, kinds
from training.generate.noise import augmented
from training.rows import Row, fingerprint

TRIES: Final = 3
"""How many texts are written for each that is kept, where a kind repeats itself, before the kind counts as exhausted."""


def one(kind: Kind, seed: int, number: int) -> Row:
    """Return one row, which depends on the seed, the kind and its number there, and on no other row."""
    rng = Random(f"{seed} {kind.name} {number}")
    written = kind.write(rng)
    return Row(
        written.text, written.lang, rng.choice(kind.channels), f"own.{kind.name}", kind.name, kind.labels
    )


def counts(total: int, known: Mapping[str, Kind]) -> dict[str, int]:
    """Return how many rows of each kind make up a total, by their shares."""
    whole = sum(kind.share for kind in known.values())
    return {name: round(total * kind.share / whole) for name, kind in known.items()}


def rows(kind: Kind, count: int, seed: int, without: Collection[bytes] = frozenset()) -> Iterator[Row]:
    """Yield rows of a kind no two of which have the same fingerprint, nor one of those given. May end early."""
    seen = set(without)
    kept = 0
    for number in range(count * TRIES):
        if kept == count:
            return
        row = one(kind, seed, number)
        key = fingerprint(row.text)
        if key not in seen:
            seen.add(key)
            kept += 1
            yield row


def generate(
    total: int,
    seed: int,
    *,
    noise: float = 0.3,
    disguise: float = 0.08,
    without: Collection[bytes] = frozenset(),
) -> list[Row]:
    """Return about `total` rows of all kinds by their shares, augmented at the given rates. Attacks get what others get."""
    known = kinds()
    wanted = counts(total, known)
    return [
        augmented(row, Random(f"{seed} {name} noise {number}"), noise=noise, disguise=disguise)
        for name, kind in known.items()
        for number, row in enumerate(rows(kind, wanted[name], seed, without))
    ]
