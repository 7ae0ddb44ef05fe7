"""Fits the statistics: a linear model on hashed words and letters, the first tier of the detectors.

python -m training.statistics --natural FOLDER    fits it to all rows, and writes the files of the package

fit(rows, weights, seed) returns a model, whose `logits(texts)` has a row for each text and a column for each of `HEADS`.
A head learns from the rows whose label it knows. The loss is the logistic one with a square penalty, solved by L-BFGS: one
minimum, the same from each start. It needs scipy beside the packages of requirements.lock.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from tidegate.kernel.text.views import Views
from tidegate.models.statistics.grams import BITS, grams
from tidegate.models.statistics.model import FOLDER, HEADS, SIGNALS, packed
from tidegate.rails.rules.suspicion import signals
from training.corpus import corpus
from training.rows import HEADS as EVERY
from training.rows import Row, fingerprint, targets, weights

WIDTH: Final = 2**BITS
CHANNELS: Final = ("user", "document", "tool_output", "model_output")
FALSE_ALARMS: Final = {"flag": 0.005, "block": 0.0005}
"""The shares of natural prompts that may be above the thresholds."""
PENALTY: Final = 1e-5
SIGNAL: Final = 0.5
"""How much a signal of the rules is, beside words and characters of the length 1."""

Floats = NDArray[np.float32]


def features(texts: Sequence[str]) -> csr_matrix:
    """Return what the model sees of texts: words and characters, each group with the length 1, and the signals of rules."""
    starts = np.zeros(len(texts) + 1, np.int64)
    places: list[NDArray[np.uint32]] = []
    values: list[Floats] = []
    for at, text in enumerate(texts):
        views = Views(text)
        found = grams(views.folded.text)
        told = np.flatnonzero(signals(views)).astype(np.uint32) + np.uint32(WIDTH)
        starts[at + 1] = starts[at] + len(found.words) + len(found.characters) + len(told)
        places += (*found, told)
        values += [np.full(len(part), len(part) ** -0.5 if len(part) else 0, np.float32) for part in found]
        values.append(np.full(len(told), SIGNAL, np.float32))
    return csr_matrix(
        (np.concatenate(values), np.concatenate(places).astype(np.int32), starts),
        shape=(len(texts), WIDTH + SIGNALS),
    )


@dataclass(frozen=True)
class Statistics:
    """The weights of a fit, features by heads, and a bias for each head. The last features are the signals of rules."""

    weights: Floats
    bias: Floats

    def logits(self, texts: Sequence[str]) -> Floats:
        """Return the logits of texts: texts by heads."""
        return self.of(features(texts))

    def of(self, seen: csr_matrix) -> Floats:
        """Return the logits of texts whose features are known."""
        return np.asarray(seen @ self.weights + self.bias, np.float32)


def fit(rows: Sequence[Row], counts: Floats, seed: int) -> Statistics:
    """Fit the model to rows, each with how much it counts. The seed is not used: the fit draws nothing."""
    del seed
    return fit_to(features([row.text for row in rows]), rows, counts)


def fit_to(
    seen: csr_matrix,
    rows: Sequence[Row],
    counts: Floats,
    heads: Sequence[str] = HEADS,
    penalty: float = PENALTY,
) -> Statistics:
    """Fit the model to rows whose features are known."""
    values, mask = targets(rows)
    table = np.zeros((WIDTH + SIGNALS, len(HEADS)), np.float32)
    bias = np.zeros(len(HEADS), np.float32)
    for head in heads:
        at, column = HEADS.index(head), EVERY.index(head)
        known = np.flatnonzero((mask[:, column] > 0) & (counts > 0))
        table[:, at], bias[at] = solved(seen[known], values[known, column], counts[known], penalty)
    return Statistics(table, bias)


def solved(seen: csr_matrix, labels: Floats, counts: Floats, penalty: float) -> tuple[Floats, float]:
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
        options={"maxiter": 100, "ftol": 1e-5, "maxcor": 6},
    )
    every = np.zeros(WIDTH + SIGNALS, np.float32)
    every[columns] = found.x[:-1]
    return every, float(found.x[-1])


def natural(folder: Path) -> list[str]:
    """Return the questions of Quora and the bank's customers in a folder: natural prompts that nothing is trained on."""
    pairs = [json.loads(line) for line in (folder / "quora_pairs_dev.jsonl").read_text("utf-8").splitlines()]
    with (folder / "banking77_test.csv").open(encoding="utf-8", newline="") as file:
        bank = [row["text"] for row in csv.DictReader(file)]
    return list(dict.fromkeys([*(pair[side] for pair in pairs for side in ("a", "b")), *bank]))


def thresholds(logits: Floats) -> dict[str, dict[str, float]]:
    """Return the probabilities above which `FALSE_ALARMS` of harmless texts lie, by channel."""
    chances = 1 / (1 + np.exp(-logits.astype(np.float64)))
    found = {name: float(np.quantile(chances, 1 - share)) for name, share in FALSE_ALARMS.items()}
    return dict.fromkeys(CHANNELS, found)


def ship(model: Statistics, limits: dict[str, dict[str, float]], folder: Path) -> None:
    """Write the files that the gateway reads, and their checksums."""
    table, scale = packed(model.weights[:WIDTH])
    rules = model.weights[WIDTH:] * np.float32(SIGNAL)
    np.savez_compressed(folder / "weights.npz", table=table, scale=scale, rules=rules, bias=model.bias)
    (folder / "thresholds.json").write_text(json.dumps(limits, indent=1) + "\n", "utf-8")
    sums = (
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("weights.npz", "thresholds.json")
    )
    (folder / "SHA256SUMS").write_text("".join(sums), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--natural", type=Path, required=True, help="folder of quora_pairs_dev.jsonl and banking77_test.csv"
    )
    parser.add_argument("--own", type=int, default=36_000, help="rows of our own")
    parser.add_argument("--to", type=Path, default=FOLDER, help="folder for the weights")
    given = parser.parse_args()
    data = corpus(given.own, 0)
    model = fit(data.rows, weights(data.rows), 0)
    trained = {fingerprint(row.text) for row in data.rows}
    texts = [text for text in natural(given.natural) if fingerprint(text) not in trained]
    logits = model.logits(texts)[:, HEADS.index("injection")]
    limits = thresholds(logits)
    ship(model, limits, given.to)
    print(f"{len(data.rows)} rows, {len(texts)} natural texts, thresholds {limits['user']}")


if __name__ == "__main__":
    main()
