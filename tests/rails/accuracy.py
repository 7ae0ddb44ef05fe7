"""How well the rail `pii` finds personal data: F1 of each entity, with an interval.

    PYTHONPATH=tests python -m rails.accuracy --written 2000
    PYTHONPATH=tests python -m rails.accuracy --data pii_presidio_synth_v2.json

`--data` takes files in the form of https://github.com/microsoft/presidio-research. A URL counts as a DOMAIN_NAME, as there.
An entity counts as found if a span of its kind overlaps it. The interval is the middle 95 % of 1,000 bootstrap samples of
the texts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rails.written import Sentence, sentences
from tidegate.kernel.text import Views
from tidegate.rails.rules.pii import Pii, PiiConfig

ENTITIES = (
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "IBAN_CODE",
    "US_SSN",
    "IP_ADDRESS",
    "DOMAIN_NAME",
)
SAMPLES = 1000

Spans = Sequence[tuple[int, int, str]]


class Counts(NamedTuple):
    right: int
    wrong: int
    missed: int

    @property
    def f1(self) -> float:
        return 2 * self.right / max(1, 2 * self.right + self.wrong + self.missed)


class Score(NamedTuple):
    """The counts of one entity or of all, and the interval of their F1."""

    entity: str
    counts: Counts
    low: float
    high: float


def measure(texts: Iterable[Sentence], *, seed: int = 0) -> list[Score]:
    """Return the scores of each entity that occurs and, last, of all together."""
    rail = Pii(PiiConfig(entities=(*ENTITIES, "URL")))
    results = [(one.marked, found(rail, one.text)) for one in texts]
    present = [
        entity for entity in ENTITIES if any(entity == span[2] for marked, _ in results for span in marked)
    ]
    rows = {entity: [count(*result, {entity}) for result in results] for entity in present}
    rows["all"] = [count(*result, ENTITIES) for result in results]
    return [_score(entity, counts, seed) for entity, counts in rows.items()]


def found(rail: Pii, text: str) -> Spans:
    spans = rail.check(Views(text), None).spans  # pyright: ignore[reportArgumentType] - the rail does not look at the scene
    return [(one.start, one.end, "DOMAIN_NAME" if one.kind == "URL" else one.kind) for one in spans]


def count(marked: Spans, told: Spans, entities: Collection[str]) -> Counts:
    marked = [span for span in marked if span[2] in entities]
    told = [span for span in told if span[2] in entities]
    right = sum(any(map(lambda one, span=span: _same(span, one), told)) for span in marked)
    wrong = sum(not any(map(lambda one, span=span: _same(span, one), marked)) for span in told)
    return Counts(right, wrong, len(marked) - right)


def _same(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    return one[2] == other[2] and one[0] < other[1] and other[0] < one[1]


def _score(entity: str, counts: Sequence[Counts], seed: int) -> Score:
    """Return the score with its interval. Texts with the same counts are drawn together, which is the same and fast."""
    kinds, times = np.unique(np.array(counts), axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(counts), times / len(counts), size=SAMPLES) @ kinds
    low, high = np.quantile([Counts(*row).f1 for row in drawn.tolist()], (0.025, 0.975))
    return Score(entity, Counts(*np.sum(counts, axis=0).tolist()), float(low), float(high))


def read(path: Path) -> list[Sentence]:
    """Return the texts of a file in the form of presidio-research."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [
        Sentence(
            row["full_text"],
            tuple(
                (span["start_position"], span["end_position"], span["entity_type"]) for span in row["spans"]
            ),
            "",
        )
        for row in rows
    ]


def main() -> None:
    options = argparse.ArgumentParser(
        prog="rails.accuracy", description="How well the rail `pii` finds personal data."
    )
    options.add_argument("--data", type=Path, help="file in the form of presidio-research")
    options.add_argument(
        "--written", type=int, default=2000, help="number of sentences by Faker, without --data"
    )
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = options.parse_args()
    scores = measure(read(chosen.data) if chosen.data else sentences(chosen.written))
    write = sys.stdout.write
    if chosen.json:
        rows = [
            {
                "entity": one.entity,
                **one.counts._asdict(),
                "f1": one.counts.f1,
                "low": one.low,
                "high": one.high,
            }
            for one in scores
        ]
        write(json.dumps(rows, indent=2) + "\n")
        return
    write(f"{'entity':16}{'right':>7}{'wrong':>7}{'missed':>7}   F1 (95 %)\n")
    for one in scores:
        write(f"{one.entity:16}{one.counts.right:7}{one.counts.wrong:7}{one.counts.missed:7}   ")
        write(f"{one.counts.f1:.3f} ({one.low:.3f} to {one.high:.3f})\n")


if __name__ == "__main__":
    main()
