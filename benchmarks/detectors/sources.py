"""The texts that the detectors are measured on: the gates, natural prompts, and documents.

Files are read by name from the data folder, and nothing of their texts is ever printed.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tidegate.ops.evals.rows import Form, Row, read, sampled

VARIABLE: Final = "TIDEGATE_DATA"
GROUPS: Final = ("type", "cat", "n", "lang")


class NoData(Exception):
    """The data folder is not there, or not complete. The message says what to do."""


class Part(NamedTuple):
    """Texts of one file that are told as one line: those of one side, and of one value of a field if one is named.

    `surface` is where they stand. `seen` says that the detectors were trained on them.
    """

    name: str
    file: str
    positive: bool
    surface: str = "input"
    field: str = ""
    value: str = ""
    seen: bool = False


PROMPTS: Final = (
    Part("NotInject", "gates/notinject", False),
    Part("NotInject, one trigger word", "gates/notinject", False, field="n", value="one"),
    Part("NotInject, two", "gates/notinject", False, field="n", value="two"),
    Part("NotInject, three", "gates/notinject", False, field="n", value="three"),
    Part("NotInject, multilingual", "gates/notinject", False, field="cat", value="Multilingual"),
    Part("XSTest, safe", "gates/xstest", False),
    Part("role-play (trained on)", "train/awesome_prompts", False, seen=True),
    Part("S-Labs, benign", "gates/slabs_test", False),
    Part("neuralchemy, benign", "gates/neuralchemy_test", False),
    Part("HarmBench", "gates/harmbench", True),
    Part("StrongREJECT", "gates/strongreject", True),
    Part("SimpleSafetyTests", "gates/sst", True),
    Part("XSTest, unsafe", "gates/xstest", True),
    Part("S-Labs, attacks", "gates/slabs_test", True),
    Part("neuralchemy, attacks", "gates/neuralchemy_test", True),
)
DOCUMENTS: Final = (
    Part("BIPIA e-mail, clean", "gates/bipia_email_clean_test", False, "retrieval"),
    Part("BIPIA table, clean", "gates/bipia_table_clean_test", False, "retrieval"),
    Part("BIPIA code, clean", "gates/bipia_code_clean_test", False, "retrieval"),
    Part("BEGIN, knowledge", "gates/grounding_begin_test_wow", False, "retrieval"),
    Part("BIPIA e-mail, injected", "gates/bipia_email_inj_test", True, "retrieval"),
    Part("BIPIA table, injected", "gates/bipia_table_inj_test", True, "retrieval"),
)
COPYRIGHT: Final = "copyright"
"""Items of HarmBench in such a category are no harm in this sense, and are left out."""


def folder() -> Path:
    """Return the data folder, which has `guards` and `cache`. Raises NoData if there is none."""
    path = Path(os.environ.get(VARIABLE, ""))
    if not os.environ.get(VARIABLE) or not (path / "guards" / "gates").is_dir():
        raise NoData(f"set {VARIABLE} to the folder that has guards/gates, guards/train and cache")
    return path


def rows_of(data: Path, parts: Iterable[Part], most: int | None, seed: int) -> list[Row]:
    """Return the texts of all files that parts are from, each file once."""
    return [
        row
        for file in dict.fromkeys(part.file for part in parts)
        for row in sampled(_rows(data, file), most, seed)
    ]


def belongs(row: Row, part: Part) -> bool:
    """Whether a text is in a part."""
    named = not part.field or part.value in row.groups.get(part.field, ())
    return row.source == part.file and row.positive is part.positive and named


def natural(data: Path, most: int | None, seed: int) -> list[Row]:
    """Return natural prompts that no detector was trained on: questions of Quora, and of a bank's customers.

    `most` counts the texts of each source.
    """
    pairs = (json.loads(line) for line in _lines(data / "cache" / "quora_pairs_dev.jsonl"))
    quora = plain("Quora", (text for pair in pairs for text in (pair["a"], pair["b"])))
    with _checked(data / "cache" / "banking77_test.csv").open(encoding="utf-8", newline="") as file:
        bank = plain("BANKING77", [record["text"] for record in csv.DictReader(file)])
    return [row for some in (quora, bank) for row in sampled(some, most, seed)]


def plain(source: str, texts: Iterable[str], *, positive: bool = False, **groups: str) -> list[Row]:
    """Return distinct texts as rows, without their blanks at the ends. Empty ones are left out."""
    kept = dict.fromkeys(stripped for text in texts if (stripped := text.strip()))
    label = "attack" if positive else "benign"
    by: dict[str, Sequence[str]] = {name: [value] for name, value in groups.items()}
    return [Row(f"{source}:{at}", source, text, label, positive, by) for at, text in enumerate(kept, 1)]


def _rows(data: Path, file: str) -> list[Row]:
    path = data / "guards" / file
    if file.endswith("grounding_begin_test_wow"):
        with _checked(path.with_suffix(".tsv")).open(encoding="utf-8", newline="") as lines:
            records = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            return plain(file, [record["knowledge"] or "" for record in records])
    found = read([_checked(path.with_suffix(".jsonl"))], Form(by=GROUPS)).rows
    return [
        row._replace(source=file) for row in found if COPYRIGHT not in " ".join(row.groups["cat"]).lower()
    ]


def _checked(path: Path) -> Path:
    if not path.is_file():
        raise NoData(f"{path} is not there: {VARIABLE} has to name the whole data folder")
    return path


def _lines(path: Path) -> Iterator[str]:
    with _checked(path).open(encoding="utf-8") as lines:
        yield from (line for line in lines if line.strip())
