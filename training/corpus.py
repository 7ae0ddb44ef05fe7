"""All rows that a model is fitted to: public ones, as they are and with noise, and our own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from training.generate.noise import augmented
from training.generate.writing import generate
from training.rows import Row, fingerprint
from training.sources import read

MOST: Final[Mapping[str, int]] = {"davidson": 9_000, "topic_clinc": 6_000, "presidio": 1_000}
"""How many rows are taken of public sets that are larger than what they teach."""


OWN_ROWS: Final = 72_000
"""How many rows of our own the models of the package are fitted to."""


@dataclass(frozen=True)
class Corpus:
    """Public rows, a noisy copy of each in the same order, and our own rows.

    `held` are harmless public documents and answers that no model is fitted to: thresholds are set by them.
    """

    public: Sequence[Row]
    noisy: Sequence[Row]
    own: Sequence[Row]
    held: Sequence[Row]

    @property
    def parts(self) -> Mapping[str, Sequence[Row]]:
        """All rows in two parts, of which the first does not change with our tables."""
        return {"public": [*self.public, *self.noisy], "own": self.own}

    @property
    def rows(self) -> list[Row]:
        """All rows in this order, which is that of their states."""
        return [*self.public, *self.noisy, *self.own]


def corpus(own: int, seed: int) -> Corpus:
    """Return the rows for a seed, `own` of them ours."""
    read_rows = read()
    held = [row for row in read_rows if _held(row)]
    every = [row for row in read_rows if not _held(row)]
    by_source: defaultdict[str, list[Row]] = defaultdict(list)
    for row in every:
        by_source[row.source].append(row)
    rng = Random(f"corpus {seed}")
    public = [
        row
        for source, rows in sorted(by_source.items())
        for row in (rng.sample(rows, MOST[source]) if len(rows) > MOST.get(source, len(rows)) else rows)
    ]
    noisy = [augmented(row, rng, noise=0.8, disguise=0.2) for row in public]
    known = {fingerprint(row.text) for row in read_rows}
    return Corpus(public, noisy, generate(own, seed + 1, without=known) if own else [], held)


def _held(row: Row) -> bool:
    """Return whether a row is held back: 40 % of the harmless documents and answers."""
    harmless = row.channel != "user" and row.labels.get("injection") == 0 and row.labels.get("harm") == 0
    return harmless and fingerprint(row.text)[0] < 0.4 * 256
