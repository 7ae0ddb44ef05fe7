"""How the recall of attacks in other languages compares with English.

No gate names its languages. Attacks come from our own grammar, with a seed that no training uses, and from the corpus of
the rail `injection` in tests/rails/attacks.py, which was written apart from the grammar but has phrases of tables that
training also uses. The set of yanismiraoui, which mixes languages without naming them, is trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.detectors.gates import recall
from benchmarks.detectors.plans import Subject, checked
from benchmarks.detectors.sources import Part, belongs, plain, rows_of
from benchmarks.detectors.tables import Bound, Cell, Column, Line, Table

from tidegate.ops.evals.checking import Checked
from tidegate.ops.evals.rows import Row

SEED: Final = 990_016
"""Training draws rows of our own with small seeds; this one is for measuring only."""
DEFAULT: Final = 60
"""The attacks and the harmless texts of each language, unless a sample is asked for."""
TRAINED: Final = Part("mixed (yanismiraoui, trained on)", "train/yanismiraoui", True)
ENOUGH: Final = 20
"""A language with fewer attacks has no bound of its own: it only counts in the line of all."""
ENGLISH: Final = frozenset({"en", "english"})
OWN, CORPUS = "own", "corpus"


def languages(about: Subject, data: Path, most: int | None, seed: int) -> list[Table]:
    """Return a table for each set."""
    most = most or DEFAULT
    trained = rows_of(data, [TRAINED], 5 * most, seed)
    rows = [*own(most), *corpus(), *trained]
    found = checked(about, "input", rows)
    tables = [
        table(
            "Languages: our own grammar, unseen seed",
            [one for one in found if one.row.source == OWN],
            about,
        ),
        table(
            "Languages: the corpus of the rail `injection`",
            [one for one in found if one.row.source == CORPUS],
            about,
        ),
    ]
    caught = recall([one for one in found if belongs(one.row, TRAINED)], about.roles["injection"])
    lines = [*tables[0].lines, Line(TRAINED.name, [len(trained), caught, None, 0, None])]
    note = "The texts are new, and so are the combinations of their parts; the phrases are those of training."
    return [Table(**_fields(tables[0]) | {"lines": lines, "note": note}), tables[1]]


def _fields(table: Table) -> dict[str, object]:
    return {name: getattr(table, name) for name in table.__struct_fields__}


def own(most: int) -> list[Row]:
    """Return attacks and harmless texts of our own grammar: at most so many of each side and language, without noise."""
    from training.generate.kinds import kinds
    from training.generate.writing import rows

    counts: Counter[tuple[str, bool]] = Counter()
    found: list[Row] = []
    for kind in kinds().values():
        label = kind.labels.get("injection")
        if (
            label is None
            or "user" not in kind.channels
            or not kind.name.endswith(("foreign", "foreign_hard"))
        ):
            continue
        for row in rows(kind, 40 * most, SEED):
            if counts[row.lang, bool(label)] < most:
                counts[row.lang, bool(label)] += 1
                found += plain(OWN, [row.text], positive=bool(label), lang=row.lang)
    return [*found, *_english(most)]


def _english(most: int) -> Iterator[Row]:
    """Yield as many English texts, of the direct kinds of attacks and of their harmless counterparts."""
    from training.generate.kinds import kinds
    from training.generate.writing import rows

    direct = [kind for name, kind in kinds().items() if kind.channels == ("user",) and _direct(name)]
    for positive in (True, False):
        of_side = [kind for kind in direct if bool(kind.labels.get("injection")) is positive]
        each = -(-most // max(len(of_side), 1))
        texts = [row for kind in of_side for row in rows(kind, each, SEED) if row.lang == "en"]
        for row in texts:
            yield from plain(OWN, [row.text], positive=positive, lang="en")


def _direct(name: str) -> bool:
    side, _, rest = name.partition(".")
    return side in ("attack", "benign") and rest in (
        *("override", "extraction", "persona", "authority", "pressure"),
        *("about_ai", "trigger", "writing", "everyday", "support"),
    )


def corpus() -> list[Row]:
    """Return the attacks of tests/rails/attacks.py."""
    from tests.rails.attacks import LANGUAGES

    return [
        row for lang, texts in LANGUAGES.items() for row in plain(CORPUS, texts, positive=True, lang=lang)
    ]


def table(title: str, found: Sequence[Checked], about: Subject) -> Table:
    """Return the table of one set, the worst language first."""
    detector = about.roles["injection"]
    sides: Mapping[bool, list[Checked]] = {
        side: [one for one in found if one.row.positive is side] for side in (True, False)
    }
    english = _of(sides[True], ENGLISH)
    plain_recall = recall(english, detector)

    def line(name: str, langs: frozenset[str]) -> Line:
        attacks, harmless = (_of(sides[side], langs) for side in (True, False))
        caught = recall(attacks, detector)
        ratio = caught.value / plain_recall.value if caught and plain_recall and plain_recall.value else None
        cells: list[Cell] = [len(attacks), caught, ratio, len(harmless), recall(harmless, detector)]
        counts = not langs & ENGLISH and len(attacks) >= ENOUGH
        bounds = [Bound(what="of English", value=ratio, limit=0.7, least=True)] if counts else []
        return Line(name, cells, bounds)

    langs = frozenset(one.row.groups["lang"][0] for one in found)
    lines = [line(lang, frozenset([lang])) for lang in sorted(langs)]
    lines.sort(key=lambda one: one.cells[2] if isinstance(one.cells[2], float) else 2.0)
    lines.append(line("all but English", langs - ENGLISH))
    columns = (
        Column("attacks", "count"),
        Column("recall of injection"),
        Column("of English"),
        Column("harmless texts", "count"),
        Column("wrongly flagged"),
    )
    return Table(title=title, first="language", columns=columns, lines=lines)


def _of(texts: Sequence[Checked], langs: frozenset[str]) -> list[Checked]:
    return [one for one in texts if one.row.groups["lang"][0] in langs]
