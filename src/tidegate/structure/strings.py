"""A string in JSON as it arrives, and the escapes in it (RFC 8259, section 7)."""

from __future__ import annotations

import re

from llguidance import LLMatcher

from tidegate.structure.schema.alternatives import Strings

_PAIR = r"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(
    rf'\\(?:["\\/bfnrt]|u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]{{3}}|[dD][0-7][0-9a-fA-F]{{2}})|{_PAIR})'
)
_FILLERS = ("\\n", "\\u0000", "\\ud800\\udc00")
_SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Reading:
    """A string that is being read as one alternative."""

    __slots__ = ("above", "matcher", "strings")

    def __init__(self, strings: Strings, above: set[int]) -> None:
        self.strings = strings
        self.above = above
        self.matcher: LLMatcher | None = None if strings.automaton is None else strings.automaton.deep_copy()

    def takes(self, part: str, value: str, length: int) -> bool:
        """Whether the string can still become one of the alternative, after a part that makes it `value`."""
        strings = self.strings
        if strings.most is not None and length > strings.most:
            return False
        if strings.choices is not None and not strings.chosen(value):
            return False
        return self.matcher is None or self._matches(self.matcher, part.encode())

    def _matches(self, matcher: LLMatcher, part: bytes) -> bool:
        if matcher.try_consume_tokens(list(part)) == len(part):
            return True
        if not matcher.is_error():
            return False
        self.matcher = None  # it became too large; the end is checked anyway
        return True

    def ends(self, value: str, length: int) -> bool:
        """Whether the whole string fits."""
        strings = self.strings
        if length < strings.least or (strings.choices is not None and value not in strings.chosen(value)[:1]):
            return False
        return self.matcher is None or self.matcher.is_accepting()

    def goes_on(self, escape: str, value: str, length: int) -> bool:
        """Whether a character that begins with a part of an escape can come next."""
        strings = self.strings
        if strings.most is not None and length >= strings.most:
            return False
        if strings.choices is not None:
            following = {choice[length : length + 1] for choice in strings.chosen(value)}
            return any(char and _may_be(escape, char) for char in following)
        return self.matcher is None or not self.matcher.is_stopped()


def is_escape(escape: str) -> bool:
    """Whether this is a whole escape."""
    return _ESCAPE.fullmatch(escape) is not None


def is_escape_begun(escape: str) -> bool:
    """Whether this is the beginning of an escape. One for a character beyond U+FFFF is a pair of surrogates."""
    return any(_ESCAPE.fullmatch(escape + filler[len(escape) :]) for filler in _FILLERS)


def unescaped(escape: str) -> str:
    """Return the character that an escape means."""
    if escape[1] != "u":
        return _SHORT[escape[1]]
    first = int(escape[2:6], 16)
    return (
        chr(first)
        if len(escape) == 6
        else chr(0x10000 + ((first - 0xD800) << 10) + int(escape[8:], 16) - 0xDC00)
    )


def _may_be(escape: str, char: str) -> bool:
    """Whether a part of an escape can become the escape of a character."""
    code = ord(char)
    coded = f"\\u{code:04x}"
    if code > 0xFFFF:
        coded = f"\\u{0xD800 + ((code - 0x10000) >> 10):04x}\\u{0xDC00 + ((code - 0x10000) & 0x3FF):04x}"
    short = (f"\\{mark}" for mark, meant in _SHORT.items() if meant == char)
    return any(one.startswith(escape.lower()) for one in (coded, *short))
