"""Labelled texts: lines of JSON from files, each with a text and a label."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

NEGATIVE = frozenset({"benign", "clean", "safe", "0", "false"})
"""The labels of texts without fault, where no others are named."""
_MOST_TOLD = 10
_LONGEST = 64
"""The names of groups are cut to so many characters."""


class BadRows(ValueError):
    """Lines that are no labelled texts. The message names each with its file and line."""


class Around(NamedTuple):
    """What stands around a text, for rails that read it: the question, the documents and the system text."""

    question: str = ""
    context: tuple[str, ...] = ()
    system: str = ""


class Row(NamedTuple):
    """One text. `at` is its file and line, `groups` the values of the fields by which the figures are split."""

    at: str
    source: str
    text: str
    label: str
    positive: bool
    groups: Mapping[str, Sequence[str]]
    around: Around = Around()


class Form(NamedTuple):
    """Where lines have what. Unless it is `labelled`, a file may have texts without a label, which are without fault.

    `positive` and `negative` are labels. If there are no `positive` ones, every label that is not negative is positive.
    `source` is the field with the source of a text; empty stands for the name of its file.
    """

    text: str = "text"
    label: str = "label"
    labelled: bool = True
    source: str = ""
    by: Sequence[str] = ()
    positive: frozenset[str] = frozenset()
    negative: frozenset[str] = NEGATIVE


class Read(NamedTuple):
    """What files have. `left_out` counts the texts with labels that are neither positive nor negative.

    `repeated` counts the texts that stand there before, and `contradicted` those of them with another label.
    """

    rows: list[Row]
    left_out: int
    repeated: int
    contradicted: int


def read(files: Iterable[Path], form: Form) -> Read:
    """Read labelled texts. Raises BadRows if a file cannot be read, or if any line is not a labelled text."""
    rows: list[Row] = []
    problems: list[str] = []
    left_out = repeated = contradicted = 0
    known: dict[str, bool] = {}
    for file, source in _sources(files):
        for at, line in _lines(file, problems):
            try:
                row = _row(line, at, source, form)
            except ValueError as error:
                problems.append(f"{at}: {error}")
                continue
            if row is None:
                left_out += 1
                continue
            rows.append(row)
            repeated += row.text in known
            contradicted += known.setdefault(row.text, row.positive) != row.positive
    if problems:
        more = len(problems) - _MOST_TOLD
        told = problems[:_MOST_TOLD] + ([f"and {more:,} more"] if more > 0 else [])
        raise BadRows("\n".join(told))
    return Read(rows, left_out, repeated, contradicted)


def sampled(rows: Sequence[Row], most: int | None, seed: int) -> list[Row]:
    """Return at most `most` positives and `most` negatives of each source, in random order.

    So the beginning of the list is a sample of all of it.
    """
    draw = random.Random(seed)  # noqa: S311 - a sample that can be drawn again, not a secret
    if most is not None:
        parts: defaultdict[tuple[str, bool], list[Row]] = defaultdict(list)
        for row in rows:
            parts[row.source, row.positive].append(row)
        rows = [row for part in parts.values() for row in draw.sample(part, min(most, len(part)))]
    return draw.sample(rows, len(rows))


def _sources(files: Iterable[Path]) -> list[tuple[Path, str]]:
    """Return each file once, with the name of its source: its name without the ending, and its folder if that is needed."""
    every = list(dict.fromkeys(files))
    names = [file.stem for file in every]
    return [(file, file.stem if names.count(file.stem) == 1 else str(file.with_suffix(""))) for file in every]


def _lines(file: Path, problems: list[str]) -> Iterator[tuple[str, bytes]]:
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{file}:{number}", line
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror}")


def _row(line: bytes, at: str, source: str, form: Form) -> Row | None:
    """Return the text of a line, or None if its label counts for neither side. Raises ValueError for another line."""
    found = _object(line, form)
    text = found.get(form.text)
    if not isinstance(text, str):
        raise ValueError(  # noqa: TRY004 - a mistake in a file, like the others
            f"has no text in the field '{form.text}': {_rename('--text', found)}"
        )
    label = _word(found.get(form.label))
    if not label and form.labelled:
        raise ValueError(f"has no label in the field '{form.label}': {_rename('--label', found)}")
    positive = bool(label) and (label in form.positive or not (form.positive or label in form.negative))
    if label and not positive and label not in form.negative:
        return None
    if form.source:
        source = _word(found.get(form.source)) or "-"
    groups = {name: _words(found.get(name)) for name in form.by}
    return Row(at, source, text, label, positive, groups, _around(found))


class _Given(msgspec.Struct):
    """The fields of a line that rails may read."""

    question: str | None = None
    context: str | list[str] | None = None
    system: str | None = None


def _around(found: dict[str, Any]) -> Around:
    """Return what stands around a text. Raises ValueError for values that are no texts."""
    try:
        given = msgspec.convert(found, _Given)
    except msgspec.ValidationError:
        raise ValueError(
            "has a `question`, `context` or `system` that is no text: rails read these"
        ) from None
    context = [given.context] if isinstance(given.context, str) else given.context or []
    return Around(given.question or "", tuple(context), given.system or "")


def _object(line: bytes, form: Form) -> dict[str, Any]:
    """Return the fields of a line. In a file without labels, a line that is no JSON object is itself the text."""
    try:
        found: Any = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        if form.labelled or line.lstrip().startswith(b"{"):
            raise ValueError(f"is not JSON: {error}") from None
        return {form.text: _utf8(line)}
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8: convert the file first") from None
    if isinstance(found, dict):
        return found  # pyright: ignore[reportUnknownVariableType]
    if form.labelled:
        raise ValueError('is not a JSON object: write lines such as {"text": "...", "label": "benign"}')
    return {form.text: _utf8(line)}


def _utf8(line: bytes) -> str:
    try:
        return line.decode().strip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8: convert the file first") from None


def _rename(option: str, found: Mapping[str, Any]) -> str:
    return f"name the right one of {', '.join(sorted(map(str, found))) or 'no fields'} with {option}"


def _words(value: Any) -> Sequence[str]:
    """Return the groups that a field names: one, or those of a list; `-` without any."""
    if isinstance(value, list):
        return list(dict.fromkeys(filter(None, map(_word, value)))) or ["-"]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return [_word(value) or "-"]


def _word(value: Any) -> str:
    """Return a value of JSON as a word; empty for what is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:_LONGEST] if isinstance(value, str | int | float) else ""
