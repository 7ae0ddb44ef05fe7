"""Regular expressions as grammars of llama.cpp (GBNF, grammars/README.md in its repository), which takes no patterns.

Only what both can say is translated: literals, classes, groups, alternatives and repetitions. Anchors at the two ends are
left out, since a grammar covers the whole answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, cast

code: Any = import_module("re._constants")
parser: Any = import_module("re._parser")
_CLASSES = {
    code.CATEGORY_DIGIT: "0-9",
    code.CATEGORY_WORD: "a-zA-Z0-9_",
    code.CATEGORY_SPACE: r" \t\n\r",
}
_MOST = 1000
"""A larger number of repetitions would be a grammar of as many rules."""


class _Untold(Exception):
    """GBNF has no words for a part of the pattern."""


def gbnf_of(pattern: str) -> str | None:
    """Return the grammar of the texts that match a pattern from end to end, or None if GBNF cannot say it."""
    try:
        parsed = parser.parse(pattern)
        if parsed.state.flags & ~re.UNICODE:
            return None
        return f"root ::= {_all(_without_anchors(list(parsed)))}"
    except (_Untold, re.error, OverflowError, RecursionError):
        return None


def _without_anchors(items: list[Any]) -> list[Any]:
    if items and items[0] in ((code.AT, code.AT_BEGINNING), (code.AT, code.AT_BEGINNING_STRING)):
        items = items[1:]
    if items and items[-1] in ((code.AT, code.AT_END), (code.AT, code.AT_END_STRING)):
        items = items[:-1]
    return items


def _all(items: Iterable[Any]) -> str:
    return " ".join(_one(*item) for item in items) or '""'


def _one(kind: Any, value: Any) -> str:
    told = _TOLD.get(kind)
    if told is None:
        raise _Untold
    return told(value)


def _literal(value: int) -> str:
    return f"[{_character(value)}]"


def _branch(value: tuple[Any, Sequence[Any]]) -> str:
    return f"({' | '.join(map(_all, value[1]))})"


def _group(value: tuple[Any, int, int, Any]) -> str:
    _, added, removed, inner = value
    if added or removed:
        raise _Untold
    return f"({_all(inner)})"


def _repeated(value: tuple[int, int, Any]) -> str:
    least, most, inner = value
    endless = most == code.MAXREPEAT
    if least > _MOST or (not endless and most > _MOST):
        raise _Untold
    return f"({_all(inner)}){{{least},{'' if endless else most}}}"


def _class(value: Sequence[tuple[Any, Any]]) -> str:
    return f"[{''.join(_member(*one) for one in value)}]"


def _member(kind: Any, value: Any) -> str:
    if kind is code.NEGATE:
        return "^"
    if kind is code.LITERAL:
        return _character(value)
    if kind is code.RANGE:
        return "-".join(map(_character, cast("tuple[int, int]", value)))
    if kind is code.CATEGORY and value in _CLASSES:
        return _CLASSES[value]
    raise _Untold


def _character(value: int) -> str:
    if value > 0xFFFF:
        return f"\\U{value:08X}"
    return chr(value) if chr(value).isascii() and chr(value).isalnum() else f"\\u{value:04X}"


_TOLD: dict[Any, Callable[[Any], str]] = {
    code.LITERAL: _literal,
    code.NOT_LITERAL: lambda value: f"[^{_character(value)}]",
    code.ANY: lambda _: r"[^\n]",
    code.IN: _class,
    code.BRANCH: _branch,
    code.SUBPATTERN: _group,
    code.MAX_REPEAT: _repeated,
    code.MIN_REPEAT: _repeated,
}
