"""Fits the statistics: a linear model on hashed words and letters, the first tier of the detectors.

python -m training.statistics     # fits it to all rows, and writes the files of the package

fit(rows, weights, seed) returns the model of the gateway, and logits(model, texts) has a row for each text and a column for
each of `HEADS`. A head learns from the rows whose label it knows. The loss is the logistic one with a square penalty,
solved by L-BFGS: one minimum, the same from each start.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from tidegate.kernel.text.views import Views
from tidegate.models.statistics.grams import BITS, codes, grams
from tidegate.models.statistics.model import HEADS, Statistics, packed, unpacked
from training.corpus import OWN_ROWS, Corpus, corpus
from training.rows import HEADS as EVERY
from training.rows import Row, fingerprint, targets, weights
from training.shipping import MODELS, STATISTICS, sign
from training.sources import prompts
from training.unseen import without_copies

INJECTION: Final = HEADS.index("injection")
WIDTH: Final = 2**BITS
FALSE_ALARMS: Final = {"flag": 0.005, "block": 0.0005}
"""The shares of natural prompts that may be above the thresholds."""
PENALTY: Final = 1e-5
STEPS: Final = 60
"""The most steps of a fit."""
Floats = NDArray[np.float32]


def features(texts: Sequence[str]) -> csr_matrix:
    """Return what the model sees of texts: words and characters, each group with the length 1. A long text is not cut."""
    starts = np.zeros(len(texts) + 1, np.int64)
    places: list[NDArray[np.uint32]] = []
    values: list[Floats] = []
    for at, text in enumerate(texts):
        found = grams(codes(Views(text).folded.text))
        starts[at + 1] = starts[at] + len(found.words) + len(found.characters)
        places += found
        values += [np.full(len(part), max(len(part), 1) ** -0.5, np.float32) for part in found]
    return csr_matrix(
        (np.concatenate(values), np.concatenate(places).astype(np.int32), starts), shape=(len(texts), WIDTH)
    )


def logits(model: Statistics, texts: Sequence[str]) -> Floats:
    """Return the logits that the gateway has for texts: texts by heads."""
    return np.array([list(model.logits(Views(text)).values()) for text in texts], np.float32)


def fit(rows: Sequence[Row], counts: Floats, seed: int = 0) -> Statistics:
    """Fit the model to rows, each with how much it counts. The seed is not used: the fit draws nothing."""
    del seed
    return Statistics(*fit_to(features([row.text for row in rows]), rows, counts))


def fit_to(
    seen: csr_matrix, rows: Sequence[Row], counts: Floats, heads: Sequence[str] = HEADS
) -> tuple[Floats, Floats]:
    """Return the table and the biases for rows whose features are known. A head that is not fitted has zeros."""
    values, mask = targets(rows)
    table = np.zeros((WIDTH, len(HEADS)), np.float32)
    bias = np.zeros(len(HEADS), np.float32)
    for head in heads:
        at, column = HEADS.index(head), EVERY.index(head)
        known = np.flatnonzero((mask[:, column] > 0) & (counts > 0))
        table[:, at], bias[at] = solved(seen[known], values[known, column], counts[known])
    return table, bias


def solved(
    seen: csr_matrix, labels: Floats, counts: Floats, penalty: float = PENALTY
) -> tuple[Floats, float]:
    """Return the weights and the bias of the least loss."""
    used = np.bincount(seen.indices, minlength=seen.shape[1]) > 0
    columns = np.flatnonzero(used)
    places = (np.cumsum(used) - 1).astype(np.int32)[seen.indices]
    small = csr_matrix((seen.data, places, seen.indptr), shape=(seen.shape[0], len(columns)))
    turned = small.T
    share = (counts / counts.sum()).astype(np.float32)
    signs = labels * 2 - 1

    def loss(given: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        vector = given[:-1].astype(np.float32)
        margins = signs * (small @ vector + np.float32(given[-1]))
        value = float(share @ np.logaddexp(0, -margins)) + penalty / 2 * float(given[:-1] @ given[:-1])
        slope = (-signs * share / (1 + np.exp(np.minimum(margins, 60)))).astype(np.float32)
        return value, np.append(turned @ slope + penalty * given[:-1], slope.sum())

    found: Any = minimize(
        loss,
        np.zeros(len(columns) + 1),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": STEPS, "ftol": 1e-5, "maxcor": 6},
    )
    every = np.zeros(WIDTH, np.float32)
    every[columns] = found.x[:-1]
    return every, float(found.x[-1])


def thresholds(model: Statistics, texts: Sequence[str], held: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return the probabilities above which `FALSE_ALARMS` of harmless texts lie, by channel.

    There are too few documents and answers that no fit has seen to know so small a share. They have the thresholds of
    prompts, or the highest that one of them has, if that is more.
    """
    found = _chances(model, texts)
    usual = {name: float(np.quantile(found, 1 - share)) for name, share in FALSE_ALARMS.items()}
    limits = {"user": usual}
    for channel in ("document", "model_output"):
        highest = float(
            _chances(model, [row.text for row in held if row.channel == channel]).max(initial=0.0)
        )
        limits[channel] = {name: max(limit, highest) for name, limit in usual.items()}
    limits["tool_output"] = limits["document"]
    return {
        channel: {name: math.ceil(limit * 1e4) / 1e4 for name, limit in limits[channel].items()}
        for channel in limits
    }


def _chances(model: Statistics, texts: Sequence[str]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logits(model, texts)[:, INJECTION].astype(np.float64)))


def ship(table: Floats, bias: Floats, folder: Path) -> Statistics:
    """Write the weights, and return the model as the gateway reads it: in bytes."""
    bytes_, scale = packed(table)
    np.savez_compressed(folder / "weights.npz", table=bytes_, scale=scale, bias=bias)
    return Statistics(unpacked(bytes_, scale), bias)


def make(data: Corpus, folder: Path) -> Statistics:
    """Fit the model to all rows, set its thresholds, and write both. Returns the model as the gateway reads it."""
    table, bias = fit_to(features([row.text for row in data.rows]), data.rows, weights(data.rows))
    folder.mkdir(parents=True, exist_ok=True)
    model = ship(table, bias, folder)
    trained = {fingerprint(row.text) for row in data.rows}
    texts = [text for text in prompts() if fingerprint(text) not in trained]
    # The text around an attack that the model was fitted to says nothing of documents that it has not seen.
    held = without_copies(data.held, [row for row in data.public if row.labels.get("injection") == 1])
    limits = thresholds(model, texts, held)
    (folder / "thresholds.json").write_text(json.dumps(limits, indent=1) + "\n", "utf-8")
    sign(folder)
    print(f"    {len(data.rows)} rows, {len(texts)} natural prompts, thresholds {limits}", flush=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--own", type=int, default=OWN_ROWS, help="rows of our own (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=MODELS, help="folder of the models (default: the package's)"
    )
    given = parser.parse_args()
    make(corpus(given.own, 0), given.out / STATISTICS)


if __name__ == "__main__":
    main()
