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

from tidegate.models.statistics.grams import BITS, grams
from tidegate.ports import TextViews

FOLDER: Final = Path(__file__).parent
HEADS: Final = ("injection", "toxicity", "harm")
SIGNALS: Final = 6
"""How many signals of rules a text may have beside its own features."""
MOST_DECODED: Final = 4
"""How many decoded views are read of a text; each is a text of its own."""
NO_SIGNALS: Final[Sequence[float]] = (0.0,) * SIGNALS

Floats = NDArray[np.float32]


class Thresholds(msgspec.Struct, frozen=True):
    """Probabilities from which a text is objected to: to flag it, and to block it."""

    flag: float
    block: float


class Statistics:
    """A linear model. `table` has a row for each place of `grams`, `rules` one for each signal, and both have all heads."""

    def __init__(self, table: Floats, rules: Floats, bias: Floats) -> None:
        self._table = table
        self._rules = rules
        self._bias = bias

    def logits(self, views: TextViews, signals: Sequence[float] = NO_SIGNALS) -> Mapping[str, float]:
        """Return the logit of each head: the highest of the folded text and of what an encoding hides in it.

        `signals` are those of rules, as `rails.rules.suspicion` gives them for the same views.
        """
        texts = (views.folded.text, *(one.text for one in views.decoded[:MOST_DECODED]))
        found = (
            np.max([self._of(text) for text in texts], axis=0) + np.asarray(signals, np.float32) @ self._rules
        )
        return dict(zip(HEADS, found.tolist(), strict=True))

    def injection(self, text: str) -> float:
        """Return the logit for an injection of a piece of a folded text, without signals: it ranks windows."""
        return float(self._of(text)[0])

    def _of(self, text: str) -> Floats:
        total = self._bias
        for places in grams(text):
            if len(places):
                total = total + self._table[places].sum(axis=0) * np.float32(len(places) ** -0.5)
        return total


def packed(table: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Return weights as bytes and the scale of each head. A byte stands for its square: small weights stay exact."""
    scale = np.abs(table).max(axis=0).astype(np.float32)
    scale[scale == 0] = 1
    return np.rint(np.sign(table) * np.sqrt(np.abs(table) / scale) * 127).astype(np.int8), scale


def unpacked(bytes_: NDArray[np.int8], scale: Floats) -> Floats:
    """Return the weights that `packed` was given, nearly."""
    found = bytes_.astype(np.float32) / np.float32(127)
    return found * np.abs(found) * scale


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
        return Statistics(table, found["rules"], found["bias"])


@lru_cache(maxsize=1)
def thresholds() -> Mapping[str, Thresholds]:
    """Return the usual thresholds of the head `injection` by channel. Raises ValueError as `statistics` does."""
    found = msgspec.json.decode(_checked("thresholds.json").read_bytes(), type=dict[str, Thresholds])
    return MappingProxyType(found)
