"""How well the profile `moderation` ranks the texts of OpenAI's moderation set, as a whole and by OpenAI's categories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks.detectors.plans import NoPlan, Subject, checked, plan, value
from benchmarks.detectors.sources import Part, rows_of
from benchmarks.detectors.tables import Bound, Cell, Column, Line, Table

from tidegate.ops.evals.checking import Checked
from tidegate.ops.evals.statistics import Scores, auc, wilson
from tidegate.rails.asked.hazards import HAZARDS
from tidegate.rails.moderation import MODERATED
from tidegate.types import Action

FLAGS: Final[Mapping[str, str]] = {
    "S": "sexual",
    "H": "hate",
    "V": "violence",
    "HR": "harassment",
    "SH": "self-harm",
    "S3": "sexual/minors",
    "H2": "hate/threatening",
    "V2": "violence/graphic",
}
"""OpenAI's categories of the API by the flags of the set."""
SET: Final = (
    Part("OpenAI moderation", "gates/openai_mod", True),
    Part("OpenAI moderation", "gates/openai_mod", False),
)
CODES: Final = {one.name: one.code for one in HAZARDS if one.code}


def categories_of(flag: str, told: Iterable[str]) -> list[str]:
    """Return the categories of ours that count as OpenAI's of a flag, of those that the rails tell."""
    return [name for name in sorted(set(told)) if FLAGS[flag] in MODERATED.get(name.lower(), ())]


def flags_of(row_flags: Sequence[str]) -> set[str]:
    """Return the flags of a text: none where nothing is flagged."""
    return {flag for one in row_flags for flag in one.split(",")} & FLAGS.keys()


def best_f1(positives: Scores, negatives: Scores) -> float | None:
    """Return the highest F1 of any threshold: of the harmonic mean of precision and recall. None if a side is missing."""
    if not len(positives) or not len(negatives):
        return None
    scores = np.concatenate((positives, negatives))
    truth = np.concatenate((np.ones(len(positives)), np.zeros(len(negatives))))
    order = np.argsort(-scores, kind="stable")
    hits, seen = np.cumsum(truth[order]), np.arange(1, len(order) + 1)
    # Texts with equal scores are flagged together: only the last one of each group is a threshold.
    last = np.append(np.diff(scores[order]) != 0, True)
    return float(np.max(2 * hits[last] / (seen[last] + len(positives))))


def moderation(about: Subject, data: Path, most: int | None, seed: int) -> Table:
    """Return the table of the profile `moderation`. Raises NoPlan if it has no rail for prompts."""
    if plan(about, "input") is None:
        raise NoPlan(f"the profile '{about.profile}' has no rail for the surface 'input'")
    return table(checked(about, "input", rows_of(data, SET, most, seed)), about.profile)


def table(found: Sequence[Checked], profile: str) -> Table:
    """Return the table of texts that have been checked."""
    told = {name for one in found for said in one.rails.values() for name in (*said.scores, said.category)}
    flags = {one.row.at: flags_of(one.row.groups["cat"]) for one in found}
    every = [one.score() for one in found], [bool(flags[one.row.at]) for one in found]
    whole = _figures(*every)
    bounds = [Bound(what="AUC", value=value(whole[1]), limit=0.87, least=True, form="area")]  # type: ignore[arg-type]
    flagged = [
        wilson(sum(one.action > Action.PASS for one in side), len(side))
        for side in (
            [one for one in found if flags[one.row.at]],
            [one for one in found if not flags[one.row.at]],
        )
    ]
    lines = [Line("any flag", ["the whole verdict", *whole, *flagged], bounds)]
    for flag, category in FLAGS.items():
        ours = frozenset(categories_of(flag, told))
        truth = [flag in flags[one.row.at] for one in found]
        known = sorted({name.lower() for name in ours})  # the kinds of spans have capitals
        named = ", ".join(f"{CODES[name]} {name}" if name in CODES else name for name in known)
        if ours:
            cells: list[Cell] = [named, *_figures([one.score(ours) for one in found], truth), None, None]
        else:
            cells = ["none", sum(truth), None, None, None, None]
        lines.append(Line(f"{flag}: {category}", cells))
    columns = (
        Column("ours", "text"),
        Column("texts with it", "count"),
        Column("AUC", "area"),
        Column("best F1", "ratio"),
        Column("flagged of those with a flag"),
        Column("of those without"),
    )
    note = (
        "The score of OpenAI's category is the highest of ours that `/v1/moderations` maps to it. Each is compared with "
        "all texts that do not have the flag, and the best F1 is that of a threshold chosen on these texts."
    )
    title = f"OpenAI's moderation set, profile `{profile}`"
    return Table(title=title, first="flag", columns=columns, lines=lines, note=note)


def _figures(scores: Sequence[float], truth: Sequence[bool]) -> list[Cell]:
    array, mask = np.array(scores, np.float64), np.array(truth, bool)
    positives, negatives = array[mask], array[~mask]
    return [len(positives), auc(positives, negatives), best_f1(positives, negatives)]
