"""The beginnings of a pattern's matches, as a pattern.

RE2 cannot say that a text ends in what may become a match. So the pattern is rewritten: `abc` becomes `a(?:b(?:c)?)?`,
which matches every text with which a match of `abc` can begin. Anchored at the end of a text, it finds where the first
match that may still grow begins. The rewritten pattern is at most a few times as long, and RE2 runs it in linear time.

One more case counts as a beginning. A combining mark that arrives later turns the last character into another one, such as
`e` into `é`. Where the pattern takes the later character but not the present one, the present one is taken as well.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from tidegate.kernel.linear import BadExpression, Expression, compiled, quoted


class Unsupported(ValueError):
    """The beginnings of this pattern are not known. Its syntax is one of the rare parts of RE2's."""


def beginnings(source: str) -> str:
    """Return a pattern in RE2's syntax of all beginnings of a pattern's matches, whole matches included, the empty one not.

    Raises Unsupported.
    """
    reader = _Reader(source)
    flags = reader.take(_FLAGS_ONLY)
    node = reader.branches()
    if reader.at < len(source):
        raise Unsupported("has a closing parenthesis too many")
    return f"{flags}(?:{node.begun})" if node.begun else ""


class _Node(NamedTuple):
    """A part of a pattern. `begun` matches its beginnings that are not empty; it is "" for a part without characters."""

    full: str
    begun: str
    nullable: bool = False
    single: bool = False


_FLAGS_ONLY = re.compile(r"\(\?[imsU-]+\)")
_OPEN = re.compile(r"\((?:\?P?<\w+>|\?(?P<flags>[imsU-]*):)?")
_QUOTED = re.compile(r"\\Q(?P<text>.*?)(?:\\E|\Z)", re.DOTALL)
_ZERO_WIDTH = re.compile(r"\\[bBAz]|[\^$]")
_CLASS = re.compile(r"\[\^?\]?(?:\[:\^?\w+:\]|\\[pP]\{[^}]*\}|\\.|[^\]\\])*\]", re.DOTALL)
_CHARACTER = re.compile(
    r"\\[pP](?:\{[^}]*\}|.)|\\x(?:\{[0-9a-fA-F]+\}|[0-9a-fA-F]{2})|\\[0-7]{1,3}|\\[^CEQ]|[^\\()|*+?\[]",
    re.DOTALL,
)
_REPEAT = re.compile(r"(?:(?P<sign>[*+?])|\{(?P<least>\d+)(?P<range>,(?P<most>\d*))?\})(?P<lazy>\??)")
_SIGNS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0

    def take(self, what: re.Pattern[str]) -> str:
        found = what.match(self.source, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def branches(self) -> _Node:
        nodes = [self._sequence()]
        while self.source.startswith("|", self.at):
            self.at += 1
            nodes.append(self._sequence())
        if len(nodes) == 1:
            return nodes[0]
        return _Node(
            "|".join(node.full for node in nodes),
            "|".join(node.begun for node in nodes if node.begun),
            nullable=any(node.nullable for node in nodes),
        )

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self.at < len(self.source) and self.source[self.at] not in "|)":
            if literal := _QUOTED.match(self.source, self.at):
                self.at = literal.end()
                parts.extend(_character(quoted(one)) for one in literal["text"])
                if parts:
                    parts[-1] = self._repeated(parts[-1])
            else:
                parts.append(self._repeated(self._part()))
        return _in_sequence(parts)

    def _part(self) -> _Node:
        if self.source.startswith("(", self.at):
            return self._group()
        if zero := self.take(_ZERO_WIDTH):
            return _Node(zero, "", nullable=True)
        if one := self.take(_CLASS) or self.take(_CHARACTER):
            return _character(one)
        raise Unsupported(f"has syntax at character {self.at} of which no beginnings are known")

    def _group(self) -> _Node:
        opened = _OPEN.match(self.source, self.at)
        assert opened is not None
        if _FLAGS_ONLY.match(self.source, self.at):
            raise Unsupported("sets flags within the pattern: write them at its beginning, or as in `(?i:…)`")
        self.at = opened.end()
        inner = self.branches()
        if not self.source.startswith(")", self.at):
            raise Unsupported("lacks a closing parenthesis")
        self.at += 1
        head = f"(?{opened['flags'] or ''}:"
        begun = f"{head}{inner.begun})" if inner.begun else ""
        return _Node(f"{head}{inner.full})", begun, nullable=inner.nullable)

    def _repeated(self, node: _Node) -> _Node:
        found = _REPEAT.match(self.source, self.at)
        if found is None:
            return node
        self.at = found.end()
        least, most = _SIGNS[found["sign"]] if found["sign"] else _bounds(found)
        full, nullable = node.full + found[0], node.nullable or least == 0
        if most == 0 or not node.begun:
            return _Node(full, "", nullable=nullable)
        if node.single and node.begun == node.full:
            begun = node.full + ("+" if most is None else f"{{1,{most}}}")
        else:
            begun = node.full + ("*" if most is None else f"{{0,{most - 1}}}") + f"(?:{node.begun})"
        return _Node(full, begun, nullable=nullable)


def _bounds(found: re.Match[str]) -> tuple[int, int | None]:
    least = int(found["least"])
    if found["range"] is None:
        return least, least
    return least, int(found["most"]) if found["most"] else None


def _in_sequence(parts: list[_Node]) -> _Node:
    """Return the node for parts that follow each other, made from the last one to the first."""
    begun, nullable = "", True
    for at in range(len(parts) - 1, -1, -1):
        part = parts[at]
        if part.full in (r"\b", r"\B") and nullable and at > 0:
            # A letter without a mark is a word character for RE2, and one with a mark is not.
            begun = f"[A-Za-z]|{begun}" if begun else "[A-Za-z]"
        elif not begun:
            begun = part.begun
        elif not part.begun:
            begun = f"{part.full}(?:{begun})"
        elif part.single and part.begun == part.full:
            begun = f"{part.full}(?:{begun})?"
        else:
            begun = f"{part.begun}|{part.full}(?:{begun})"
        nullable = nullable and part.nullable
    return _Node("".join(part.full for part in parts), begun, nullable=nullable)


def _character(source: str) -> _Node:
    late = _late(source)
    if not late:
        return _Node(source, source, single=True)
    others = "".join(quoted(one) for one in sorted(late))
    return _Node(source, f"{source}|[{others}]", single=True)


@lru_cache(maxsize=1)
def _unfinished() -> Mapping[str, str]:
    """Return the characters that combining marks may turn into other ones, each with those that it may become."""
    every = map(chr, (*range(0x80, 0xD800), *range(0xF900, 0x30000)))
    found: dict[str, list[str]] = {}
    for composed in every:
        # Nearly all characters are not composed, and this test is the fastest.
        if not unicodedata.is_normalized("NFD", composed):
            for one in earlier(composed):
                found.setdefault(one, []).append(composed)
    return {one: "".join(others) for one, others in found.items()}


def earlier(composed: str) -> set[str]:
    """Return the characters that a composed one may be before all of its marks have arrived."""
    parts = unicodedata.normalize("NFD", composed)
    made = (unicodedata.normalize("NFC", parts[:end]) for end in range(1, len(parts)))
    return {one for one in made if len(one) == 1}


@lru_cache(maxsize=4096)
def _late(source: str) -> frozenset[str]:
    """Return the characters that the pattern of one character takes only after a mark has been added to them."""
    return _late_as(source) | _late_as(f"(?i:{source})")


def _late_as(source: str) -> frozenset[str]:
    try:
        runs = compiled(f"(?:{source})+")
    except BadExpression as error:
        raise Unsupported(str(error)) from error
    unfinished = _unfinished()
    refused = unfinished.keys() - _taken(runs, "".join(unfinished))
    taken = _taken(runs, "".join(unfinished[one] for one in refused))
    return frozenset(refused & {before for one in taken for before in earlier(one)})


def _taken(runs: Expression, characters: str) -> set[str]:
    return {one for run in runs.finditer(characters) for one in run[0]}
