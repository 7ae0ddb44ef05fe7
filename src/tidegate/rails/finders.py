"""Ways to find spans in a text: by patterns, by words, or by a function of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from tidegate.kernel.matching import Beginnings, Match, Pattern, PatternSet, WordList
from tidegate.types import Span, View

MAX_MATCH_CHARS = 256
"""Longest match of a pattern that has no bound of its own, in characters of the folded text."""
Find = Callable[[str, int], Sequence[Span]]


class Growing(Protocol):
    """The test for spans that are not complete.

    `first(text, start)` returns the index, from `start` on, of the first span that text that follows may complete, lengthen
    or undo, and the length of the text if there is none. `first_alone` returns the same, or -1 if the text may have
    complete spans as well.
    """

    def first(self, text: str, start: int = 0) -> int: ...
    def first_alone(self, text: str, start: int = 0) -> int: ...


class Ending(NamedTuple):
    """The end of a part that is swallowed as it arrives. Its match has at most `max_chars` characters."""

    patterns: PatternSet
    max_chars: int = 128


class Finder(NamedTuple):
    """A way to find spans in folded text.

    `find(text, start)` returns the spans that begin at `start` or later. Whether a span begins at a place must not depend
    on `start`; what stands before it is only context, of which there are `context_chars` or more. `max_chars` is the length
    of the longest span. `until` has the endings of kinds that are swallowed: a span of such a kind goes on to its ending,
    or to the end of the stream, without being held back.
    """

    find: Find
    growing: Growing
    max_chars: int = MAX_MATCH_CHARS
    until: Mapping[str, Ending] = {}
    context_chars: int = 1


def by_patterns(
    patterns: Iterable[Pattern],
    *,
    max_chars: int = MAX_MATCH_CHARS,
    score: float = 1.0,
    until: Mapping[str, Ending] | None = None,
) -> Finder:
    """Return a finder of all matches of patterns. The name of a pattern is the kind of its spans. Raises BadPattern."""
    known = PatternSet(patterns)

    def find(text: str, start: int) -> list[Span]:
        return _spans(known.find(text, start), score)

    return Finder(find, Beginnings(known.patterns, max_chars=max_chars), max_chars, until or {})


def by_words(words: WordList, *, score: float = 1.0) -> Finder:
    """Return a finder of words. The name of the list is the kind of its spans."""

    def find(text: str, start: int) -> list[Span]:
        return _spans(words.find(text, start), score)

    return Finder(find, words, words.max_chars + 1)


def growing(*sources: str, max_chars: int, ignore_case: bool = False) -> Growing:
    """Return the `growing` of a finder with a `find` of its own, all of whose spans are matches of these patterns.

    The patterns may be much simpler than what is found: `[+(]?[0-9 ()/.-]{1,24}` for telephone numbers.
    """
    return Beginnings((Pattern("", one, ignore_case) for one in sources), max_chars=max_chars)


def either(*finders: Finder) -> Finder:
    """Return a finder of everything that any of some finders finds."""
    if len(finders) == 1:
        return finders[0]

    def find(text: str, start: int) -> list[Span]:
        return [span for one in finders for span in one.find(text, start)]

    growing = joined([one.growing for one in finders])
    longest = max(one.max_chars for one in finders)
    until = {kind: end for one in finders for kind, end in one.until.items()}
    return Finder(find, growing, longest, until, max(one.context_chars for one in finders))


def joined(tests: Sequence[Growing]) -> Growing:
    """Return the test for what any of some tests is for. Those by patterns become one search."""
    by_pattern = [one for one in tests if isinstance(one, Beginnings)]
    others = [one for one in tests if not isinstance(one, Beginnings)]
    if by_pattern:
        patterns = [pattern for one in by_pattern for pattern in one.patterns]
        others.append(Beginnings(patterns, max_chars=max(one.max_chars for one in by_pattern)))
    return others[0] if len(others) == 1 else _Growing(tuple(others))


class _Growing(NamedTuple):
    each: tuple[Growing, ...]

    def first(self, text: str, start: int = 0) -> int:
        return min(one.first(text, start) for one in self.each)

    def first_alone(self, text: str, start: int = 0) -> int:
        return min(one.first_alone(text, start) for one in self.each)


def as_it_is(text: str) -> View:
    """Return the view of a text that changes nothing."""
    return View("original", text)


def _spans(matches: Iterable[Match], score: float) -> list[Span]:
    return [Span(start, end, name, score) for name, start, end in matches]
