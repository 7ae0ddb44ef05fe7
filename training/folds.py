"""Leave one source out: models that have seen neither the attacks of one source nor the harmless texts of another.

python -m training.folds                                   # the 12 cells of injections
python -m training.folds --of slabs davidson               # one of them
python -m training.folds --what documents                  # those of BIPIA; harm, toxicity
python -m training.folds --statistics                      # without the encoder

Each cell trains without both, and without what copies their texts. It tells the area under the curve, the recall at 1 %
false alarms by the threshold of the unseen harmless source, and the figures at a threshold that was set without it, on
harmless rows of the other sources that were held back: of the encoder, of the statistics, and of both, as is shipped for
English words.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from tidegate.models.statistics.model import HEADS as COUNTED
from tidegate.models.statistics.model import Statistics
from tidegate.ops.evals.statistics import auc, recall_at, threshold_at
from training.corpus import OWN_ROWS, Corpus, corpus
from training.encoder import Examples, Fit, fit, logits
from training.rows import HEADS, Row, targets, weights
from training.states import States, cached, joined
from training.statistics import features, fit_to
from training.statistics import logits as counted_logits
from training.train import BUILD, ENCODER, FROZEN, FUSION, base_folder, new_top
from training.unseen import SOURCES, Fold, fold, learned

TARGET = 0.01

Logits = NDArray[np.float64]


@dataclass(frozen=True)
class Given:
    """What all cells share: `head` is what is told. Without states, there is no encoder."""

    head: str
    data: Corpus
    words: csr_matrix
    share: float
    states: States | None
    how: Fit


def cell(
    given: Given, attacks: str, benign: str
) -> tuple[dict[str, object], Mapping[str, Mapping[str, Logits]]]:
    """Train without two sources; return the figures of the cell, and the logits behind them.

    Raises SystemExit if one of the sources has no rows of its side.
    """
    parts = fold(
        given.data.public, attacks, benign, Random(f"{given.how.seed} {attacks} {benign}"), given.head
    )
    for rows, source, label in ((parts.attacks, attacks, 1), (parts.harmless, benign, 0)):
        if not rows:
            raise SystemExit(f"the source '{source}' has no rows with the label {label} for '{given.head}'")
    taken = learned(given.data, parts)
    by = {"statistics": by_statistics(given, parts, taken)}
    if given.states is not None:
        encoder = by_encoder(given, given.states, parts, taken)
        both = {name: encoder[name] + given.share * by["statistics"][name] for name in encoder}
        by |= {"encoder": encoder, "both": both}
    return {"attacks": attacks, "benign": benign, **{name: figures(**one) for name, one in by.items()}}, by


def by_statistics(given: Given, parts: Fold, taken: NDArray[np.bool_]) -> dict[str, Logits]:
    """Fit the statistics to some rows; return the logits of the texts of a fold."""
    at = np.flatnonzero(taken)
    every = given.data.rows
    rows = [every[one] for one in at]
    model = Statistics(*fit_to(given.words[at], rows, weights(rows), [given.head]))
    place = COUNTED.index(given.head)
    return {
        name: counted_logits(model, [row.text for row in some])[:, place].astype(np.float64)
        for name, some in unseen(parts)
    }


def by_encoder(given: Given, states: States, parts: Fold, taken: NDArray[np.bool_]) -> dict[str, Logits]:
    """Fit the encoder to some rows; return the logits of the texts of a fold."""
    rows = given.data.rows
    weight = np.zeros(len(rows), np.float32)
    weight[taken] = weights([row for row, ours in zip(rows, taken, strict=True) if ours])
    top = new_top(base_folder())
    fit(top, Examples(states, *targets(rows), weight), given.how)
    places = {id(row): at for at, row in enumerate(given.data.public)}
    return {
        name: logits(top, states, [places[id(row)] for row in some])[:, HEADS.index(given.head)]
        for name, some in unseen(parts)
    }


def unseen(parts: Fold) -> Iterable[tuple[str, Sequence[Row]]]:
    """Return the texts of a fold that nothing is learned from."""
    return (("attacks", parts.attacks), ("harmless", parts.harmless), ("held", parts.held))


def figures(attacks: Logits, harmless: Logits, held: Logits) -> dict[str, object]:
    """Return the figures of scores of unseen attacks, unseen harmless texts, and harmless texts of other sources."""
    apart = threshold_at(held, TARGET).below
    return {
        "auc": msgspec.to_builtins(auc(attacks, harmless)),
        "recall_at_1_percent": msgspec.to_builtins(recall_at(attacks, harmless, TARGET)),
        "recall_apart": float(np.mean(attacks > apart)),
        "false_alarms_apart": float(np.mean(harmless > apart)),
    }


def keep(folder: Path, name: str, scores: Mapping[str, Mapping[str, Logits]]) -> None:
    """Write the logits of a cell."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / f"{name}.npz",
        **{f"{model}.{side}": found for model, one in scores.items() for side, found in one.items()},
    )


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cache", type=Path, default=BUILD / "states", help="folder for the states of the lower layers"
    )
    parser.add_argument("--what", default="injection", choices=SOURCES)
    parser.add_argument(
        "--of", nargs=2, action="append", metavar="SOURCE", help="one cell: attacks and harmless"
    )
    parser.add_argument(
        "--share", type=float, help="share of the statistics in both (default: as it is shipped)"
    )
    parser.add_argument("--statistics", action="store_true", help="the statistics alone")
    parser.add_argument("--own", type=int, default=OWN_ROWS, help="rows of our own; 0 shows what they bring")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--drawn", type=int, default=10_000, help="texts drawn in an epoch")
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write every cell there")
    parser.add_argument("--scores", type=Path, help="also write the logits of every cell into this folder")
    return parser


def main() -> None:
    given = options().parse_args()
    torch.set_num_threads(given.threads)
    data = corpus(given.own, 0)
    states = None
    if not given.statistics:
        parts = data.parts.items()
        states = joined([cached(base_folder(), given.cache / name, rows, FROZEN) for name, rows in parts])
    how = Fit(epochs=given.epochs, drawn=given.drawn, rate=given.rate, seed=given.seed)
    head = "injection" if given.what == "documents" else given.what
    share = FUSION.get(head, ENCODER)[1] if given.share is None else given.share
    shared = Given(head, data, features([row.text for row in data.rows]), share, states, how)
    cells: list[dict[str, object]] = []
    for attacks, benign in given.of or SOURCES[given.what]:
        found, scores = cell(shared, attacks, benign)
        print(json.dumps(found), flush=True)
        cells.append(found)
        if given.scores:
            keep(given.scores, f"{attacks}.{benign}", scores)
    if given.json:
        given.json.write_text(json.dumps(cells, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
