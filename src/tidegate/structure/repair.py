"""Repair of answers that miss the form in a way that leaves one reading.

What is taken away is around the answer: whitespace, a fence of Markdown, text before and after. What is mended inside of
JSON are commas before a closing bracket, single quotes where no double quote is, and brackets that are missing at the end.
A string or a number that breaks off stays so, since nobody knows how it would have gone on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from tidegate.structure.check import Checker

MOST_CHARS = 65_536
"""The longest text that is repaired."""
MOST_SPANS = 4
"""The places at which JSON is looked for in a text."""
_FENCE = re.compile(r"```[ \t]*[\w+-]*[ \t]*\r?\n(.*?)\r?\n?[ \t]*```", re.DOTALL)
_OPENER = re.compile(r"[{\[]")
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]|"', re.DOTALL)
_CLOSERS = {"{": "}", "[": "]"}
_SPARE_COMMA = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")|,(?=\s*[}\]])', re.DOTALL)
_SINGLE_QUOTED = re.compile(r"'([^']*)'")
_CUT_OFF = re.compile(r"[-+.0-9eE]$")


def repaired(text: str, checker: Checker) -> str | None:
    """Return the answer in the demanded form, unchanged if it has it already; None if there is not exactly one reading."""
    if not checker.errors(text):
        return text
    if len(text) > MOST_CHARS:
        return None
    for way in _WAYS:
        found = {mended: None for mended in way(text) if not checker.errors(mended)}
        if found:
            return next(iter(found)) if len(found) == 1 else None
    return None


def _bare(text: str) -> Iterator[str]:
    """Without whitespace, and without quotes around all of it."""
    stripped = text.strip()
    yield stripped
    if len(stripped) > 1 and stripped[0] == stripped[-1] and stripped[0] in "\"'`":
        yield stripped[1:-1]


def _fenced(text: str) -> Iterator[str]:
    for fence in _FENCE.finditer(text):
        yield fence[1].strip()


def _spans(text: str) -> Iterator[str]:
    """Yield the arrays and objects in a text, the outermost ones, whole or not."""
    at = 0
    for _ in range(MOST_SPANS):
        opener = _OPENER.search(text, at)
        if opener is None:
            return
        span, whole = _span(text, opener.start())
        yield span
        at = opener.start() + (len(span) if whole else 1)


def _span(text: str, start: int) -> tuple[str, bool]:
    """Return the JSON that begins at a bracket, up to the bracket that closes it, or with the brackets that are missing."""
    open_brackets: list[str] = []
    for token in _TOKEN.finditer(text, start):
        mark = token[0]
        if mark in _CLOSERS:
            open_brackets.append(_CLOSERS[mark])
        elif mark == '"':  # a string that breaks off
            return text[start:], False
        elif open_brackets and mark == open_brackets[-1]:
            open_brackets.pop()
            if not open_brackets:
                return text[start : token.end()], True
    return _closed(text[start:], open_brackets), False


def _closed(span: str, missing: list[str]) -> str:
    span = span.rstrip().removesuffix("```").rstrip()
    return span if _CUT_OFF.search(span) else span + "".join(reversed(missing))


def _mended(text: str) -> Iterator[str]:
    for span in _spans(text):
        yield _SPARE_COMMA.sub(_without_comma, span)
    if '"' not in text and "\\" not in text:
        for span in _spans(_SINGLE_QUOTED.sub(_double_quoted, text)):
            yield _SPARE_COMMA.sub(_without_comma, span)


def _without_comma(found: re.Match[str]) -> str:
    return found[1] or ""


def _double_quoted(found: re.Match[str]) -> str:
    return msgspec.json.encode(found[1]).decode()


_WAYS: tuple[Callable[[str], Iterator[str]], ...] = (_bare, _fenced, _spans, _mended)
