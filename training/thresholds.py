"""Set the thresholds of the detector's heads by harmless texts that it was not trained on, and write them into its folder.

python -m training.thresholds [--folder FOLDER]

Natural prompts are the questions of Quora pairs and of BANKING77's test; half of them set the thresholds, and the figures
that are printed are those of the other half. Documents and answers are those that training holds back, and texts of our own
of another seed. `flag` and `block` are at fixed shares of false positives, for the rails of one kind together.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegate.kernel.text import Views
from tidegate.models.detecting import Detector
from tidegate.models.statistics.model import Statistics, statistics
from training.corpus import corpus
from training.generate.kinds import kinds
from training.generate.writing import rows
from training.rows import HARMS, Row
from training.shipping import DETECTOR, MODELS, sign
from training.sources import prompts
from training.unseen import without_copies

GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "injection": ("injection",),
    "toxicity": ("toxicity",),
    "harm": ("harm", *HARMS),
}
"""The heads of each rail: one of them above its threshold is enough. The first one tells of all that the rail is for."""
MAIN: Final = 0.9
"""The first head's part of what a rail may flag wrongly. The other heads share the rest."""
FLAG: Final[Mapping[str, float]] = {"injection": 0.0005, "toxicity": 0.0012, "harm": 0.0068}
"""The share of natural prompts that each rail flags. Some of them do ask for harm, so its share is the largest."""
BLOCK: Final = 0.00015
"""The share of natural prompts that each rail blocks."""
HARD_FLAG: Final[Mapping[str, float]] = {"injection": 0.008, "toxicity": 0.03, "harm": 0.03}
"""The share of our own harmless texts that look like attacks or harm which each rail flags."""
HARD: Final = (
    "benign.trap",
    "benign.trigger",
    "benign.about_ai",
    "benign.roleplay",
    "benign.operator",
    "benign.format",
)
DOCUMENTS: Final = (
    "benign.document",
    "benign.long_document",
    "benign.repository",
    "benign.operator",
    "benign.code",
)
ANSWERS: Final = ("benign.answer", "benign.said", "benign.statement")
SEED: Final = 77_001
"""Of our own texts here; training has others."""

Scores = NDArray[np.float64]
"""Probabilities, texts by heads."""


def natural() -> list[str]:
    """Return natural prompts in random order."""
    texts = prompts()
    Random(0).shuffle(texts)
    return texts


def own(names: Sequence[str], each: int) -> list[Row]:
    """Return harmless texts of ours of some kinds."""
    known = kinds()
    return [row for name in names for row in rows(known[name], each, SEED)]


async def scored(detector: Detector, texts: Sequence[str]) -> Scores:
    """Return the probabilities of all heads for some texts."""
    found: list[Sequence[float]] = []
    for start in range(0, len(texts), 64):
        some = [detector.read(Views(text), float("inf")) for text in texts[start : start + 64]]
        found += [list(one.values()) for one in await asyncio.gather(*some)]
    return np.array(found)


def level(scores: Scores, share: float) -> Scores:
    """Return a threshold for each head, so that at most a share of the texts has a head above its own.

    The first head has `MAIN` of the share. All others let the same share of the texts through, so that none of them takes
    the share of another.
    """
    if scores.shape[1] == 1:
        return above(scores, share)
    first = above(scores[:, :1], share * MAIN)
    low, high = 0.0, share
    others = np.ones(scores.shape[1] - 1)
    for _ in range(30):
        each = (low + high) / 2
        found = above(scores[:, 1:], each)
        over = (scores[:, :1] >= first).any(axis=1) | (scores[:, 1:] >= found).any(axis=1)
        if np.mean(over) <= share:
            low, others = each, found
        else:
            high = each
    return np.concatenate([first, others])


def above(scores: Scores, share: float) -> Scores:
    """Return the least threshold of each head for which at most a share of the texts is above it."""
    return np.quantile(scores, 1 - share, axis=0, method="higher") + 1e-6


def table(heads: Sequence[str], sets: Mapping[str, Scores]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the thresholds by head and by channel."""
    found: dict[str, dict[str, dict[str, float]]] = {head: {} for head in heads}
    for rail, names in GROUPS.items():
        at = [heads.index(name) for name in names]
        natural_flag = level(sets["natural"][:, at], FLAG[rail])
        natural_block = level(sets["natural"][:, at], BLOCK)
        hard = level(sets["hard"][:, at], HARD_FLAG[rail])
        for channel, further in (
            ("user", "hard"),
            ("document", "documents"),
            ("tool_output", "documents"),
            ("model_output", "answers"),
        ):
            more = hard if further == "hard" else level(sets[further][:, at], 0.01)
            most = level(sets[further][:, at], 0.002)
            for place, name in enumerate(names):
                flag = max(natural_flag[place], more[place])
                block = max(natural_block[place], most[place], flag)
                found[name][channel] = {"flag": shown(flag), "block": shown(block)}
    return found


def shown(threshold: float) -> float:
    """Return a threshold as it is written, not below what was found."""
    return min(round(float(threshold) + 5e-5, 4), 1.0)


def told(
    heads: Sequence[str], found: Mapping[str, Mapping[str, Mapping[str, float]]], scores: Scores, column: str
) -> dict[str, float]:
    """Return the share of texts that each rail objects to as prompts of users, and that any does."""
    over = {
        rail: np.any([scores[:, heads.index(name)] >= found[name]["user"][column] for name in names], axis=0)
        for rail, names in GROUPS.items()
    }
    every = np.any(list(over.values()), axis=0)
    return {**{rail: float(one.mean()) for rail, one in over.items()}, "any": float(every.mean())}


async def work(folder: Path, words: Statistics) -> None:
    """Write the thresholds of the detector in a folder, which has the statistics beside it."""
    detector = Detector(folder=folder, statistics=words.logits_of, suspicion=words.suspicion)
    heads = json.loads((folder / "detector.json").read_text())["heads"]
    user = natural()
    data = corpus(0, 0)
    held = without_copies(data.held, data.public)  # BIPIA's injected texts hold its clean ones
    texts = {
        "natural": user[::2],
        "unseen": user[1::2],
        "hard": [row.text for row in own(HARD, 500)],
        "documents": [row.text for row in held if row.channel in {"document", "tool_output"}]
        + [row.text for row in own(DOCUMENTS, 300)],
        "answers": [row.text for row in held if row.channel == "model_output"]
        + [row.text for row in own(ANSWERS, 300)],
    }
    sets: dict[str, Scores] = {}
    for name, some in texts.items():
        print(f"==> {name}: {len(some)} texts", flush=True)
        sets[name] = await scored(detector, some)
    await detector.close()
    found = table(heads, sets)
    (folder / "thresholds.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    sign(folder)
    for column in ("flag", "block"):
        for name in ("unseen", "hard"):
            print(column, name, json.dumps(told(heads, found, sets[name], column)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, default=MODELS / DETECTOR, help="folder of the model (default: the package's)"
    )
    given = parser.parse_args()
    asyncio.run(work(given.folder, statistics()))


if __name__ == "__main__":
    main()
