"""The patterns and formats of strings as automata that read a string as it arrives.

A pattern is ECMA 262's, as far as it is plain: no look-around, no reference back, anchors only at its ends. A format is one
whose rule a regular expression says exactly. All others are checked at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

MOST_CHARS = 1_000
"""The longest length that is made part of an automaton. A longer one is only counted."""
_BYTES = LLTokenizer("byte")
_LIMITS = LLParserLimits(initial_lexer_fuel=200_000, step_lexer_fuel=50_000, max_lexer_states=10_000)
"""A few milliseconds and megabytes. A pattern that needs more is checked at the end."""
_ANY = "(?s:.*)"
_DIGIT, _WORD = "0-9", "A-Za-z0-9_"
_SPACE = "\\x{09}-\\x{0d}\\x{20}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}\\x{feff}"
_CLASSES = {
    "d": f"[{_DIGIT}]",
    "D": f"[^{_DIGIT}]",
    "w": f"[{_WORD}]",
    "W": f"[^{_WORD}]",
    "s": f"[{_SPACE}]",
    "S": f"[^{_SPACE}]",
}
_IN_CLASS = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROLS = {"n": "\\x{0a}", "r": "\\x{0d}", "t": "\\x{09}", "f": "\\x{0c}", "v": "\\x{0b}"}
_REPEAT = re.compile(r"([*+?]|\{[0-9]{1,4}(?:,[0-9]{0,4})?\})\??")
_HEX = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})")
_LEAP = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DATE = (
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
FORMATS = {
    "date": _DATE,
    "uuid": "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    "ipv4": f"{_BYTE}(?:[.]{_BYTE}){{3}}",
}
"""The formats that are checked while a string arrives: RFC 3339 full-date, RFC 4122, RFC 2673 section 3.2."""


def regular(pattern: str) -> str:
    """Return a regular expression for all the strings in which a pattern is found; empty if it is not plain."""
    try:
        return "|".join(f"(?:{_searched(branch)})" for branch in _branches(_Reader(pattern).translated()))
    except _NotPlainError:
        return ""


def automaton(expressions: list[str], least: int, most: int | None) -> LLMatcher | None:
    """Return an automaton for the strings of `least` to `most` characters that match all the expressions.

    None if it would be too large.
    """
    terms = [f"/{expression}/" for expression in expressions]
    if (least or most is not None) and max(least, most or 0) <= MOST_CHARS:
        terms.append(f"/(?s:.{{{least},{'' if most is None else most}}})/")
    matcher = LLMatcher(_BYTES, "start: S\nS: " + " & ".join(terms), log_level=0, limits=_LIMITS)
    return None if matcher.is_error() else matcher


def matcher_of(grammar: str) -> LLMatcher:
    """Return the automaton of a grammar in llguidance's own form. The caller asks `is_error`."""
    return LLMatcher(_BYTES, grammar, log_level=0)


def is_empty(matcher: LLMatcher) -> bool:
    """Whether an automaton accepts no string at all."""
    copy = matcher.deep_copy()
    return not copy.is_accepting() and not any(copy.compute_logit_bias()) and not copy.is_error()


class _NotPlainError(Exception):
    pass


def _branches(parts: list[str]) -> Iterator[list[str]]:
    """Divide a translated pattern at the `|` that stand in no group."""
    depth, branch = 0, list[str]()
    for part in parts:
        depth += (part == "(?:") - (part == ")")
        if part == "|" and not depth:
            yield branch
            branch = []
        else:
            branch.append(part)
    yield branch


def _searched(branch: list[str]) -> str:
    """A pattern may be found anywhere in a string, unless an anchor binds it."""
    begins, ends = branch[:1] == ["^"], branch[-1:] == ["$"]
    inner = branch[begins : len(branch) - ends]
    if "^" in inner or "$" in inner:
        raise _NotPlainError
    return ("" if begins else _ANY) + "".join(inner) + ("" if ends else _ANY)


class _Reader:
    """Reads one pattern and writes it in the syntax of llguidance's regular expressions."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0

    def translated(self) -> list[str]:
        parts: list[str] = []
        while self._at < len(self._text):
            parts.append(self._next(self._text[self._at]))
        return parts

    def _next(self, char: str) -> str:
        if char in "*+?{":
            return self._repeat()
        self._at += 1
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        if char == "\\":
            return self._escape(_CLASSES)
        if char == ".":
            return "[^\\x{0a}]"
        return char if char in "^$|)" else _literal(char)

    def _repeat(self) -> str:
        found = _REPEAT.match(self._text, self._at)
        if found is None:
            raise _NotPlainError
        self._at = found.end()
        return found[1]  # a lazy repeat finds the same strings

    def _group(self) -> str:
        if self._text.startswith("?:", self._at):
            self._at += 2
        elif self._text.startswith("?", self._at):
            raise _NotPlainError
        return "(?:"

    def _class(self) -> str:
        negated = self._text.startswith("^", self._at)
        self._at += negated
        parts: list[str] = []
        while (char := self._text[self._at : self._at + 1]) != "]":
            self._at += 1
            if not char or char == "[" or self._text.startswith(("&&", "--", "~~"), self._at - 1):
                raise _NotPlainError
            parts.append(self._escape(_IN_CLASS) if char == "\\" else char if char == "-" else _literal(char))
        self._at += 1
        return _class_of(parts, negated=negated)

    def _escape(self, classes: dict[str, str]) -> str:
        char = self._text[self._at : self._at + 1]
        coded = _HEX.match(self._text, self._at)
        if coded:
            self._at = coded.end()
            return _literal(chr(int(coded[1] or coded[2], 16)))
        self._at += 1
        if char in classes:
            return classes[char]
        if char in _CONTROLS:
            return _CONTROLS[char]
        if not char or char.isalnum():
            raise _NotPlainError
        return _literal(char)


def _class_of(parts: list[str], *, negated: bool) -> str:
    """A hyphen makes a range between two single characters, and is itself at the ends of a class."""
    if not parts:
        raise _NotPlainError
    written: list[str] = []
    for i, part in enumerate(parts):
        if part != "-" or i in {0, len(parts) - 1}:
            written.append("\\x{2d}" if part == "-" else part)
        elif _is_single(parts[i - 1]) and _is_single(parts[i + 1]) and written[-2:-1] != ["-"]:
            written.append("-")
        else:
            raise _NotPlainError
    return f"[{'^' if negated else ''}{''.join(written)}]"


def _is_single(part: str) -> bool:
    return part != "-" and (
        len(part) == 1 or (part.startswith("\\x{") and part.count("\\") == 1 and "-" not in part)
    )


def _literal(char: str) -> str:
    if "\ud800" <= char <= "\udfff":
        raise _NotPlainError
    return char if char.isascii() and char.isalnum() else f"\\x{{{ord(char):x}}}"
