"""Google's RE2 with types: regular expressions in time that is linear in the text.

RE2 has no backtracking, and so neither backreferences nor look-around.
"""

# The library declares no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, cast

import re2

MEMORY_BYTES = 64 * 2**20
"""Memory for the automaton of one expression. RE2 makes its states as texts need them."""

# The methods of the library's Python objects encode the text and make an object for each match, which costs more than the
# search. So this module calls the class of C++ beneath them.
_RE2 = re2._re2.RE2  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
_ANYWHERE = _RE2.Anchor.UNANCHORED
_NOWHERE = (-1, -1)


class BadExpression(ValueError):
    """RE2 does not take an expression. The message is RE2's reason."""


class Found(Protocol):
    """One match."""

    def start(self) -> int: ...
    def end(self) -> int: ...
    def span(self) -> tuple[int, int]: ...
    def __getitem__(self, group: int) -> str: ...


class Expression(Protocol):
    """A compiled expression. Offsets are in units of the text, characters or bytes. What stands before `pos` is context."""

    def search(self, text: str | bytes, pos: int = 0) -> Found | None: ...
    def fullmatch(self, text: str | bytes) -> Found | None: ...
    def finditer(self, text: str | bytes, pos: int = 0) -> Iterator[Found]: ...


class Expressions(Protocol):
    """A set of compiled expressions. `Match` returns the indices of those that match anywhere in the text."""

    def Match(self, text: str | bytes) -> Sequence[int]: ...  # noqa: N802 - RE2's name


def compiled(source: str) -> Expression:
    """Return a compiled expression. Its groups capture nothing, so names of groups may repeat. Raises BadExpression."""
    options = _options()
    options.never_capture = True
    try:
        return cast("Expression", re2.compile(source, options))
    except re2.error as error:
        reason = error.args[0]
        raise BadExpression(reason.decode() if isinstance(reason, bytes) else str(reason)) from error


def places(expression: Expression, text: str, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield the places of the matches that begin at `start` or later, in characters, without an object for each."""
    match = expression._regexp.Match  # noqa: SLF001  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]
    data = text.encode()
    if len(data) == len(text):
        yield from _places(match, data, start)
        return
    at = len(text[:start].encode())
    for first, end in _places(match, data, at):
        start += len(data[at:first].decode())
        at = first
        yield start, start + len(data[first:end].decode())


def _places(
    match: Callable[..., Sequence[tuple[int, int]]], data: bytes, start: int
) -> Iterator[tuple[int, int]]:
    size = len(data)
    while start <= size:
        found = match(_ANYWHERE, data, start, size)[0]
        if found == _NOWHERE:
            return
        yield found
        first, start = found
        if first == start:
            start += 1
            while start < size and data[start] & 0xC0 == 0x80:  # within a character
                start += 1


class Presence:
    """Whether any of some expressions matches anywhere in a text, found in one pass. Raises BadExpression."""

    def __init__(self, sources: Iterable[str]) -> None:
        options = _options()
        options.never_capture = True
        expression = _RE2("|".join(f"(?:{one})" for one in sources).encode(), options)
        if not expression.ok():
            raise BadExpression(str(expression.error()))
        self._match = expression.Match

    def within(self, text: bytes) -> bool:
        """Return whether a text in UTF-8 has a match."""
        return self._match(_ANYWHERE, text, 0, len(text))[0] != _NOWHERE


def compiled_set(sources: Iterable[str]) -> Expressions:
    """Return a compiled set of expressions that `compiled` takes."""
    every = re2.Set.SearchSet(_options())
    for source in sources:
        every.Add(source)
    every.Compile()
    return cast("Expressions", every)


def quoted(text: str) -> str:
    """Return the expression that matches a text literally."""
    return str(re2.escape(text))


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY_BYTES
    return options
