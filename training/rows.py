"""The row that training reads, and the heads that it has labels for.

A head that a source says nothing about is absent from the labels of its rows: no loss is taken there.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tidegate.rails.asked.hazards import HAZARDS

Channel = Literal["user", "document", "tool_output", "model_output"]

HARMS: Final = tuple(one.name for one in HAZARDS if one.code)
"""The names of the hazards S1 to S14, in this order."""

HEADS: Final = ("injection", "toxicity", "harm", *HARMS)
"""`injection` covers jailbreaks. `harm` is any hazard, also where nobody says which."""

Labels = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Row:
    """A text with the labels that are known of it.

    `lang` is an ISO 639-1 code, or `und` where the source does not say. `kind` is the type within the source, and `given`
    the label that the source itself gives, which `labels` may correct.
    """

    text: str
    lang: str
    channel: Channel
    source: str
    kind: str
    labels: Labels
    given: str = ""


def harmless(**known: int) -> dict[str, int]:
    """Return labels that are 0 for each head but those named."""
    return dict.fromkeys(HEADS, 0) | known


def harmful(*codes: str, unsure: Iterable[str] = ()) -> dict[str, int]:
    """Return labels of a harmful request that belongs to some hazards, and may belong to those that are unsure.

    Without any hazard, only `harm` is known. A harmful request alone is no injection.
    """
    known = {"injection": 0, "harm": 1}
    if not codes:
        return known
    doubtful = set(unsure)
    return known | {name: int(name in codes) for name in HARMS if name not in doubtful}


def targets(rows: Sequence[Row]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the labels as an array of rows by heads, and a mask of the same shape: 1 where a label is known."""
    values = np.zeros((len(rows), len(HEADS)), np.float32)
    mask = np.zeros_like(values)
    for at, row in enumerate(rows):
        for head, label in row.labels.items():
            values[at, HEADS.index(head)] = label
            mask[at, HEADS.index(head)] = 1
    return values, mask


EMPHASIS: Final[Mapping[str, float]] = {"catqa": 4, "advbench": 3}
"""How much more these sources count: public sets of harm are small, and have many kinds of request."""
OWN: Final = "own."
"""How the sources of our own rows begin."""
OWN_PART: Final = 0.8
"""The part of all weight that our own rows have. Among them, each row counts the same: their shares are meant."""


def weights(rows: Sequence[Row], power: float = 0.5) -> NDArray[np.float32]:
    """Return a weight for each row, 1 on average, so that a public source counts with its size to the given power.

    0 gives each source the same weight, 1 each row. `EMPHASIS` multiplies.
    """
    sizes = Counter(row.source for row in rows)
    found = np.array(
        [
            1.0
            if row.source.startswith(OWN)
            else sizes[row.source] ** (power - 1) * EMPHASIS.get(row.source, 1)
            for row in rows
        ],
        np.float32,
    )
    own = np.array([row.source.startswith(OWN) for row in rows], bool)
    if own.any() and not own.all():
        found[own] *= OWN_PART / found[own].sum()
        found[~own] *= (1 - OWN_PART) / found[~own].sum()
    return found / found.mean() if len(found) else found


def fingerprint(text: str) -> bytes:
    """Return a hash that is the same for texts that differ in case, spacing, punctuation and compatible characters only."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters = "".join(c for c in folded if c.isalnum())
    return hashlib.blake2b((letters or folded).encode("utf-8", "surrogatepass"), digest_size=12).digest()


def distinct(rows: Iterable[Row]) -> list[Row]:
    """Return the rows without near-duplicates. The first of them stays, with the labels of all.

    A head on which duplicates do not agree becomes unknown; a row without any known head is left out.
    """
    kept: dict[bytes, Row] = {}
    disputed: set[tuple[bytes, str]] = set()
    for row in rows:
        key = fingerprint(row.text)
        first = kept.setdefault(key, row)
        if first is row:
            continue
        disputed |= {
            (key, head) for head, label in row.labels.items() if first.labels.get(head, label) != label
        }
        kept[key] = replace(first, labels={**row.labels, **first.labels})
    agreed = (
        replace(
            row, labels={head: label for head, label in row.labels.items() if (key, head) not in disputed}
        )
        for key, row in kept.items()
    )
    return [row for row in agreed if row.labels]
