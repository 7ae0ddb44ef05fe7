"""Fits the statistics: a linear model on hashed words and letters, the first tier of the detectors.

fit(rows, weights, seed) returns a model, whose `logits(texts)` has a row for each text and a column for each of `HEADS`.
A head learns from the rows whose label it knows. The loss is the logistic one with a square penalty, solved by L-BFGS: one
minimum, the same from each start. It needs scipy beside the packages of requirements.lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from tidegate.kernel.text.views import Views
from tidegate.models.statistics.grams import BITS, grams
from training.rows import HEADS as EVERY
from training.rows import Row, targets

HEADS: Final = ("injection", "toxicity", "harm")
WIDTH: Final = 2**BITS
PENALTY: Final = 3e-6
STEPS: Final = 60
"""The most steps of a fit. The figures of unseen sources are the same from about half of them on."""

Floats = NDArray[np.float32]


def features(texts: Sequence[str]) -> csr_matrix:
    """Return what the model sees of texts: words and characters, each group with the length 1."""
    starts = np.zeros(len(texts) + 1, np.int64)
    places: list[NDArray[np.uint32]] = []
    values: list[Floats] = []
    for at, text in enumerate(texts):
        found = grams(Views(text).folded.text)
        starts[at + 1] = starts[at] + len(found.words) + len(found.characters)
        places += found
        values += [np.full(len(part), max(len(part), 1) ** -0.5, np.float32) for part in found]
    if not places:
        return csr_matrix((0, WIDTH), dtype=np.float32)
    return csr_matrix(
        (np.concatenate(values), np.concatenate(places).astype(np.int32), starts), shape=(len(texts), WIDTH)
    )


@dataclass(frozen=True)
class Statistics:
    """The weights of a fit: features by heads, and a bias for each head."""

    weights: Floats
    bias: Floats

    def logits(self, texts: Sequence[str]) -> Floats:
        """Return the logits of texts: texts by heads."""
        return self.of(features(texts))

    def of(self, seen: csr_matrix) -> Floats:
        """Return the logits of texts whose features are known."""
        return np.asarray(seen @ self.weights + self.bias, np.float32)


def fit(rows: Sequence[Row], weights: Floats, seed: int = 0) -> Statistics:
    """Fit the model to rows, each of which counts with its weight. The seed changes nothing: the fit draws nothing."""
    del seed
    return fit_to(features([row.text for row in rows]), rows, weights)


def fit_to(
    seen: csr_matrix, rows: Sequence[Row], weights: Floats, heads: Sequence[str] = HEADS
) -> Statistics:
    """Fit some heads to rows whose features are known. Rows with the weight 0 are left out."""
    values, mask = targets(rows)
    table = np.zeros((WIDTH, len(HEADS)), np.float32)
    bias = np.zeros(len(HEADS), np.float32)
    for head in heads:
        at, column = HEADS.index(head), EVERY.index(head)
        known = np.flatnonzero((mask[:, column] > 0) & (weights > 0))
        table[:, at], bias[at] = solved(seen[known], values[known, column], weights[known])
    return Statistics(table, bias)


def solved(
    seen: csr_matrix, labels: Floats, weights: Floats, penalty: float = PENALTY
) -> tuple[Floats, float]:
    """Return the weights and the bias of the least loss."""
    columns, places = np.unique(seen.indices, return_inverse=True)
    small = csr_matrix((seen.data, places.astype(np.int32), seen.indptr), shape=(seen.shape[0], len(columns)))
    turned = small.T.tocsr()
    share = (weights / weights.sum()).astype(np.float32)
    signs = labels * 2 - 1

    def loss(given: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margins = signs * (small @ given[:-1].astype(np.float32) + np.float32(given[-1]))
        value = float(share @ np.logaddexp(0, -margins)) + penalty / 2 * float(given[:-1] @ given[:-1])
        slope = (-signs * share / (1 + np.exp(np.minimum(margins, 60)))).astype(np.float32)
        return value, np.append(turned @ slope + penalty * given[:-1], slope.sum())

    start = np.zeros(len(columns) + 1)
    options = {"maxiter": STEPS, "ftol": 1e-5, "maxcor": 6}
    found: Any = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    every = np.zeros(WIDTH, np.float32)
    every[columns] = found.x[:-1]
    return every, float(found.x[-1])
