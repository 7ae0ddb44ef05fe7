"""Parses the text format of metrics, and returns the samples of the metrics that are asked for.

The parser follows the Prometheus text format 0.0.4 and accepts what OpenMetrics adds to a sample line: a timestamp with a
fraction, and an exemplar. Lines of other metrics are skipped without being parsed, so a page of a thousand lines takes half
a millisecond.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator

import msgspec

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*')
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|Inf|NaN)", re.IGNORECASE
)
_TIMESTAMP = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_ESCAPE = re.compile(r"\\(.)")
_LONGEST_QUOTE = 80
MAX_SAMPLES = 4096
MAX_LINE = 16 * 1024  # characters


class NotExposition(ValueError):
    """The text is not in the format. The message shows the beginning of the first bad line."""


class Sample(msgspec.Struct, frozen=True):
    """One sample line: the value of a metric for one set of labels. `value` may be NaN or infinite."""

    name: str
    labels: dict[str, str]
    value: float


def read(text: str, names: Collection[str]) -> Iterator[Sample]:
    """Yield the samples of the metrics in `names`, in the order of the text.

    Raises NotExposition if the text does not begin with a comment or a sample, if a line of these metrics cannot be parsed
    or has over 16,384 characters, or if there are more than 4,096 such lines.
    """
    begin = text.lstrip()[:_LONGEST_QUOTE]
    if begin and begin[0] != "#" and not _NAME.match(begin):
        raise _unreadable(begin)
    wanted = "|".join(re.escape(name) for name in names)
    lines = re.compile(rf"^[ \t]*({wanted})(?![a-zA-Z0-9_:]).*$", re.MULTILINE)
    for number, found in enumerate(lines.finditer(text)):
        line = found[0].strip(" \t\r")
        if number == MAX_SAMPLES or len(line) > MAX_LINE:
            raise NotExposition(
                f"more than {MAX_SAMPLES} lines of these metrics, or a line over {MAX_LINE} characters"
            )
        yield _sample(found[1], line, len(found[1]))


def known(values: Iterator[float]) -> list[float]:
    """Return the finite values: servers send NaN or infinity for an unknown value."""
    return [value for value in values if math.isfinite(value)]


def _sample(name: str, line: str, at: int) -> Sample:
    labels: dict[str, str] = {}
    if line[at : at + 1] == "{":
        at = _labels(line, at + 1, labels)
    number, *after = line[at:].partition("#")[0].split()[:3] or [""]
    if not _NUMBER.fullmatch(number) or len(after) > 1 or not all(map(_TIMESTAMP.fullmatch, after)):
        raise _unreadable(line)
    return Sample(name, labels, float(number))


def _labels(line: str, at: int, labels: dict[str, str]) -> int:
    """Parse the labels into `labels`, and return the position after the closing brace."""
    while found := _LABEL.match(line, at):
        labels[found[1]] = _ESCAPE.sub(_unescaped, found[2])
        at = found.end()
        if line[at : at + 1] != ",":
            break
        at += 1
    while line[at : at + 1] in (" ", "\t"):
        at += 1
    if line[at : at + 1] != "}":
        raise _unreadable(line)
    return at + 1


def _unescaped(found: re.Match[str]) -> str:
    character = found[1]
    return "\n" if character == "n" else character if character in '"\\' else found[0]


def _unreadable(line: str) -> NotExposition:
    return NotExposition(f"not a line of metrics: {line[:_LONGEST_QUOTE]!r}")
