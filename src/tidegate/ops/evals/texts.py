"""What the rails said of each text, for those who look for the reasons of a figure. The text itself is not in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from tidegate.ops.evals.checking import Checked, Said
from tidegate.ops.evals.evaluation import Run
from tidegate.types import Action


class RailLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one rail said. What is empty is left out."""

    action: str
    score: float = 0.0
    category: str = ""
    scores: Mapping[str, float] = {}
    error: str = ""


class TextLine(msgspec.Struct, frozen=True):
    """One text: its file and line, what it should be, what the profile does with it, and what each rail says."""

    at: str
    source: str
    label: str
    positive: bool
    profile: str
    failed: bool
    action: str
    score: float
    took_ms: float
    rails: Mapping[str, RailLine]


def lines(runs: Sequence[Run], categories: Collection[str]) -> Iterator[TextLine]:
    """Yield a line for each text and profile, in the order of files and lines."""
    for run in runs:
        for one in sorted(run.checked, key=_place):
            yield TextLine(
                at=one.row.at,
                source=one.row.source,
                label=one.row.label,
                positive=one.row.positive,
                profile=run.profile,
                failed=one.failed,
                action=one.action.word,
                score=round(one.score(categories), 6),
                took_ms=round(one.took_s * 1000, 4),
                rails={name: _said(said) for name, said in one.rails.items()},
            )


def _place(one: Checked) -> tuple[str, int]:
    file, _, line = one.row.at.rpartition(":")
    return file, int(line)


def _said(said: Said) -> RailLine:
    action = "failed" if said.error else said.action.word
    category = said.category if said.action is not Action.PASS else ""
    return RailLine(action, round(said.score, 6), category, said.scores, said.error)
