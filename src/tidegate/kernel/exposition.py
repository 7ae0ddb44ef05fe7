"""The text in which servers tell their metrics: bytes in, the samples of the names asked for out.

Follows the Prometheus text format 0.0.4 and what OpenMetrics adds to a sample's line (a timestamp with a fraction, an
exemplar). Lines of other metrics are passed over unread, so a page of a thousand lines costs half a millisecond.
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
    """A line that cannot be in such a text; the message shows its beginning."""


class Sample(msgspec.Struct, frozen=True):
    """One line: a metric's value for one set of labels. `value` may be NaN or infinite."""

    name: str
    labels: dict[str, str]
    value: float


def read(text: str, names: Collection[str]) -> Iterator[Sample]:
    """The samples of these metrics, in the text's order.

    Raises NotExposition: the text begins with no such line, one of the lines asked for cannot be read or is over 16 KiB, or
    they are more than 4,096.
    """
    begin = text.lstrip()[:_LONGEST_QUOTE]
    if begin and begin[0] != "#" and not _NAME.match(begin):
        raise _unreadable(begin)
    wanted = "|".join(re.escape(name) for name in names)
    lines = re.compile(rf"^[ \t]*({wanted})(?![a-zA-Z0-9_:]).*$", re.MULTILINE)
    for number, found in enumerate(lines.finditer(text)):
        line = found[0].strip(" \t\r")
        if number == MAX_SAMPLES or len(line) > MAX_LINE:
            raise NotExposition("there are more, or longer, lines of these metrics than anybody sends")
        yield _sample(found[1], line, len(found[1]))


def known(values: Iterator[float]) -> list[float]:
    """Those that are numbers: NaN and the infinities say that nobody knows."""
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
    """Reads up to and with the closing brace; returns where the line goes on."""
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
    return NotExposition(f"this is not a line of metrics: {line[:_LONGEST_QUOTE]!r}")
