"""The weights of the statistics, and the logits that they give for a text.

`README.md` beside this file says what the weights were fitted to, and what they measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.models.statistics.grams import BITS, Codes, codes, grams, standing
from tidegate.ports import TextViews

FOLDER: Final = Path(__file__).parent
HEADS: Final = ("injection", "toxicity", "harm")
WINDOW: Final = 160
"""Of a text with more characters, windows of so many are read: a long text would drown a short order."""
Floats = NDArray[np.float32]


class Thresholds(msgspec.Struct, frozen=True):
    """Probabilities from which a text is objected to: to flag it, and to block it."""

    flag: float
    block: float


class Statistics:
    """A linear model. `table` has a row for each place of `grams` and a column for each of `HEADS`."""

    def __init__(self, table: Floats, bias: Floats) -> None:
        self._table = table
        self._bias = bias

    def logits(self, views: TextViews) -> Mapping[str, float]:
        """Return the logit of each head: the highest of the folded text and of what an encoding hides in it."""
        # All that is hidden: a text may hide harmless texts so that one that is not is not read.
        texts = dict.fromkeys((views.folded.text, *(one.text for one in views.decoded)))
        return _named(np.max([self.of(text) for text in texts], axis=0))

    def logits_of(self, text: str) -> Mapping[str, float]:
        """Return the logit of each head for a folded text. Nothing is decoded: `models.detecting` reads its windows so."""
        return _named(self.of(text))

    def suspicion(self, texts: Sequence[str]) -> Sequence[float]:
        """Return the logit for an injection of each of some folded texts, such as the windows of a long one."""
        return [float(self.of(text)[0]) for text in texts]

    def of(self, text: str) -> Floats:
        """Return the logits of a folded text, in the order of `HEADS`: of a longer one, the highest over its windows."""
        found = codes(text)
        if len(found) > WINDOW:
            return self._windows(found).max(axis=0)
        total = self._bias
        for places in grams(found):
            if len(places):
                total = total + self._table[places].sum(axis=0) * np.float32(len(places) ** -0.5)
        return total

    def _windows(self, found: Codes) -> Floats:
        """Return the logits of the windows of a text, which begin half a window apart.

        Sums over half windows are computed once. A feature that comes again in a window counts again there.
        """
        every = standing(found)
        half = WINDOW // 2
        begins = np.arange(0, len(found), half)
        words = np.zeros((len(begins), len(HEADS) + 1), np.float64)
        at = every.starts // half
        values = self._table[every.words]
        values[:-1] += self._table[every.pairs]
        for head in range(len(HEADS)):
            words[:, head] = np.bincount(at, values[:, head], len(begins))
        words[:, -1] = np.bincount(at, minlength=len(begins)) * 2
        letters = np.zeros((len(found), len(HEADS) + 1), np.float64)
        for places in every.characters:
            letters[: len(places), :-1] += self._table[places]
            letters[: len(places), -1] += 1
        characters = np.add.reduceat(letters, begins, axis=0)
        return (_scaled(words) + _scaled(characters) + self._bias).astype(np.float32)


def _scaled(halves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums over windows of two halves by the root of the number of features, which is the last column."""
    both = halves[:-1] + halves[1:]
    return both[:, :-1] / np.sqrt(np.maximum(both[:, -1:], 1))


def _named(found: Floats) -> Mapping[str, float]:
    return dict(zip(HEADS, found.tolist(), strict=True))


def packed(table: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Return weights as bytes and the scale of each head. A byte stands for its square: small weights stay exact."""
    scale = np.abs(table).max(axis=0).astype(np.float32)
    scale[scale == 0] = 1
    return np.rint(np.sign(table) * np.sqrt(np.abs(table) / scale) * 127).astype(np.int8), scale


def unpacked(bytes_: NDArray[np.int8], scale: Floats) -> Floats:
    """Return the weights that `packed` was given, nearly."""
    found = bytes_.astype(np.float32)
    found /= np.float32(127)
    found *= np.abs(found)  # in place, since copies would stay in the memory of the process
    found *= scale
    return found


def _checked(name: str) -> Path:
    """Return the path of a file of the model. Raises ValueError if it is not the file that SHA256SUMS names."""
    path = FOLDER / name
    try:
        sums = (FOLDER / "SHA256SUMS").read_text("utf-8").splitlines()
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(
            f"the statistics are incomplete: {name} cannot be read; install Tidegate again"
        ) from error
    if f"{sha256}  {name}" not in sums:
        raise ValueError(
            f"the statistics are damaged: {name} does not have the sha256 in SHA256SUMS; install Tidegate again"
        )
    return path


@lru_cache(maxsize=1)
def statistics() -> Statistics:
    """Return the model of this package, which is read once. Raises ValueError for files that are not as they were made."""
    with np.load(_checked("weights.npz"), allow_pickle=False) as found:
        table = unpacked(found["table"], found["scale"])
        if table.shape != (2**BITS, len(HEADS)):
            raise ValueError("the statistics are damaged: weights.npz has another number of weights")
        return Statistics(table, found["bias"])


@lru_cache(maxsize=1)
def thresholds() -> Mapping[str, Thresholds]:
    """Return the usual thresholds of the head `injection` by channel. Raises ValueError as `statistics` does."""
    found = msgspec.json.decode(_checked("thresholds.json").read_bytes(), type=dict[str, Thresholds])
    return MappingProxyType(found)
