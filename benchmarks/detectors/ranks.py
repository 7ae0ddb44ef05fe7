"""How well the scores of the detectors tell attacks and harmful requests from harmless texts, at any threshold."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import numpy as np
from benchmarks.detectors.plans import Subject
from benchmarks.detectors.tables import Cell, Column, Line, Table

from tidegate.ops.evals.checking import Checked
from tidegate.ops.evals.statistics import Scores, auc, recall_at

SHARES: Final = (0.01, 0.05)


class Pair(NamedTuple):
    """Files whose positives are compared with the negatives of others, by the rails of a role."""

    name: str
    role: str
    positives: Collection[str]
    negatives: Collection[str]


PROMPTS: Final = (
    Pair("injection: S-Labs", "injection", ("gates/slabs_test",), ("gates/slabs_test",)),
    Pair("injection: neuralchemy", "injection", ("gates/neuralchemy_test",), ("gates/neuralchemy_test",)),
    Pair(
        "injection: both, against NotInject",
        "injection",
        ("gates/slabs_test", "gates/neuralchemy_test"),
        ("gates/notinject",),
    ),
    Pair("harm: HarmBench", "harm", ("gates/harmbench",), ("gates/xstest",)),
    Pair("harm: StrongREJECT", "harm", ("gates/strongreject",), ("gates/xstest",)),
    Pair("harm: SimpleSafetyTests", "harm", ("gates/sst",), ("gates/xstest",)),
    Pair("harm: XSTest, unsafe", "harm", ("gates/xstest",), ("gates/xstest",)),
)
DOCUMENTS: Final = (
    Pair("BIPIA e-mail", "injection", ("gates/bipia_email_inj_test",), ("gates/bipia_email_clean_test",)),
    Pair("BIPIA table", "injection", ("gates/bipia_table_inj_test",), ("gates/bipia_table_clean_test",)),
)


def ranks(title: str, pairs: Sequence[Pair], texts: Sequence[Checked], about: Subject, note: str) -> Table:
    """Return the table of pairs, with areas and the recall at the thresholds of each pair's own negatives."""
    lines = [_line(pair, texts, about.roles[pair.role]) for pair in pairs]
    columns = (
        Column("to flag", "count"),
        Column("without fault", "count"),
        Column("AUC", "area"),
        *(Column(f"recall at {share:.0%} FPR") for share in SHARES),
    )
    return Table(title=title, first="texts", columns=columns, lines=lines, note=note)


def _line(pair: Pair, texts: Sequence[Checked], rails: frozenset[str]) -> Line:
    positives = _scores(
        [one for one in texts if one.row.positive and one.row.source in pair.positives], rails
    )
    negatives = _scores(
        [one for one in texts if not one.row.positive and one.row.source in pair.negatives], rails
    )
    cells: list[Cell] = [len(positives), len(negatives)]
    if not texts or not rails & texts[0].rails.keys():
        return Line(pair.name, [*cells, *([None] * (1 + len(SHARES)))])
    recalls = [recall_at(positives, negatives, share) for share in SHARES]
    return Line(pair.name, [*cells, auc(positives, negatives), *recalls])


def _scores(texts: Sequence[Checked], rails: frozenset[str]) -> Scores:
    return np.array(
        [
            max((said.score for name, said in one.rails.items() if name in rails), default=0.0)
            for one in texts
        ],
        np.float64,
    )
