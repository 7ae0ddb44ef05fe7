"""Searches texts for many patterns or words at once, in time that is linear in the text.

Patterns run on RE2, which has no backtracking: no pattern of anyone can hang. Words run on an automaton of Aho and Corasick
(1975). Offsets are in characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple

import ahocorasick_rs

from tidegate.kernel.beginnings import Unsupported, beginnings, earlier
from tidegate.kernel.linear import BadExpression, Expression, compiled, compiled_set, places


class Match(NamedTuple):
    """A match of the pattern or list called `name`, from `start` up to, but not including, `end`."""

    name: str
    start: int
    end: int


class Pattern(NamedTuple):
    """A pattern in RE2's syntax. `ignore_case` lets letters match in both cases."""

    name: str
    source: str
    ignore_case: bool = False


class BadPattern(ValueError):
    """A pattern that RE2 does not take. The message names it."""


class PatternSet:
    """Patterns that are searched together.

    Raises BadPattern for a pattern that RE2 does not take, and for one that matches the empty text.
    """

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self.patterns = tuple(patterns)
        self._singles = tuple(_compiled(one) for one in self.patterns)
        for one, single in zip(self.patterns, self._singles, strict=True):
            if single.fullmatch(""):
                raise BadPattern(
                    f"pattern '{one.name}' matches the empty text: let it match at least one character"
                )
        # A search for all patterns as one never fails. Set's search does, if it runs out of memory, and says nothing then.
        self._any = compiled("|".join(map(_source, self.patterns))) if self.patterns else None
        self._set = compiled_set(map(_source, self.patterns)) if len(self.patterns) > 1 else None

    def find(self, text: str, start: int = 0) -> list[Match]:
        """Return the matches that begin at `start` or later: those of one pattern never overlap.

        What stands before `start` is context, for word boundaries and the like.
        """
        if self._any is None or self._any.search(searchable(text), start) is None:
            return []
        text = without_surrogates(text)
        found: list[Match] = []
        for at in self._present(text):
            name = self.patterns[at].name
            every = places(self._singles[at], text, start)
            found.extend([Match(name, first, end) for first, end in every if first < end])
        return sorted(found, key=_START)

    def _present(self, text: str) -> Sequence[int]:
        """The indices of the patterns that match somewhere in the text."""
        present = sorted(self._set.Match(text)) if self._set else ()
        return present or range(len(self._singles))


class Beginnings:
    """Finds where in a text the first match may begin that is not complete, or may grow, with text that follows.

    A pattern of which no beginnings are known may begin with any of the last `max_chars` characters.
    """

    def __init__(self, patterns: Iterable[Pattern], *, max_chars: int) -> None:
        self.patterns = patterns = tuple(patterns)
        self.max_chars = max_chars
        sources: list[str] = []
        known = True
        for one in patterns:
            try:
                begun = beginnings(one.source)
            except Unsupported:
                known = False
                continue
            sources.append(_source(one._replace(source=begun)) if begun else "")
            _compiled(one._replace(source=sources[-1]))
        begun = "|".join(filter(None, sources))
        at_end = f"(?:{begun})\\z"
        self._begun = compiled(at_end) if begun else None
        self._either = compiled("|".join((at_end, *map(_source, patterns)))) if begun and known else None
        self._unknown_chars = 0 if known else max_chars

    def first(self, text: str, start: int = 0) -> int:
        """Return the index, from `start` on, of the first such match; the length of the text if there is none."""
        first = len(text)
        if self._unknown_chars:
            first = max(start, first - self._unknown_chars)
        if self._begun is not None and (found := self._begun.search(searchable(text), start)):
            first = min(first, found.start())
        return first

    def first_alone(self, text: str, start: int = 0) -> int:
        """Return what `first` does, with one search, or -1 if there may be complete matches too."""
        if self._either is None:
            return -1
        found = self._either.search(searchable(text), start)
        if found is None:
            return len(text)
        first, end = found.span()
        return first if end == len(text) else -1


class WordList:
    """Words and phrases that are searched together, in both cases, the longest first.

    `whole_words` demands that no letter or digit of any script stands next to a match.
    """

    def __init__(
        self, name: str, words: Iterable[str], *, whole_words: bool = True, ignore_case: bool = True
    ) -> None:
        self._name = name
        self._whole_words = whole_words
        self._lower = lower if ignore_case else without_surrogates
        self.words = tuple(sorted({self._lower(word) for word in words if word}))
        self.max_chars = max(map(len, self.words), default=0)
        self._automaton = ahocorasick_rs.AhoCorasick(
            self.words, matchkind=ahocorasick_rs.MatchKind.LeftmostLongest
        )
        self._overlapping = ahocorasick_rs.AhoCorasick(self.words) if whole_words else None
        self._begun = frozenset(_begun(self.words))

    def find(self, text: str, start: int = 0) -> list[Match]:
        """Return the matches that begin at `start` or later. They never overlap."""
        lowered = self._lower(text)
        if not self._automaton.find_matches_as_indexes(lowered):
            return []
        if self._overlapping is None:
            after = self._automaton.find_matches_as_indexes(lowered[start:])
            return [Match(self._name, first + start, end + start) for _, first, end in after]
        # The longest match at a place may be part of a longer word while a shorter one is whole.
        every = self._overlapping.find_matches_as_indexes(lowered, overlapping=True)
        return self._longest(
            [(first, end) for _, first, end in every if first >= start and _is_whole(lowered, first, end)]
        )

    def first(self, text: str, start: int = 0) -> int:
        """Return the index, from `start` on, where a word begins that text that follows may complete or refute."""
        lowered, end = self._lower(text), len(text)
        for at in range(max(start, end - self.max_chars), end):
            if lowered[at:] in self._begun and not (self._whole_words and _is_within(lowered, at)):
                return at
        return end

    def first_alone(self, text: str, start: int = 0) -> int:
        """Return what `first` does, or -1 if there may be complete matches too."""
        if self._automaton.find_matches_as_indexes(self._lower(text)):
            return -1
        return self.first(text, start)

    def _longest(self, spans: list[tuple[int, int]]) -> list[Match]:
        longest = dict(sorted(spans))  # the last end for a place is the furthest
        found: list[Match] = []
        after = 0
        for first, end in longest.items():
            if first >= after:
                after = end
                found.append(Match(self._name, first, end))
        return found


class Phrases:
    """Phrases that are searched in both cases, wherever they stand. Their matches may overlap."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._automaton = ahocorasick_rs.AhoCorasick(sorted({lower(one) for one in phrases if one}))

    def reach(self, text: str) -> Sequence[int]:
        """Return for each place of a text the furthest end of a match that begins there or before; 0 if none does."""
        ends = [0] * len(text)
        for _, start, end in self._automaton.find_matches_as_indexes(lower(text), overlapping=True):
            ends[start] = max(ends[start], end)
        return [*accumulate(ends, max)]


def lower(text: str) -> str:
    """Return the text in lower case, with each character where it was."""
    if text.isascii():
        return text.lower()
    text = without_surrogates(text)
    lowered = text.lower()
    if len(lowered) != len(text):
        lowered = "".join(small if len(small := one.lower()) == 1 else one for one in text)
    # Which of the two small sigmas stands for a capital one depends on the character that follows.
    return lowered.replace(_FINAL_SIGMA, _SIGMA)


def without_surrogates(text: str) -> str:
    """Return the text with `?` for each lone surrogate, which has no bytes in UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


def searchable(text: str) -> str | bytes:
    """The text in the form whose offsets RE2 finds fastest: those in bytes and in characters are the same in ASCII."""
    return text.encode() if text.isascii() else without_surrogates(text)


_FINAL_SIGMA, _SIGMA = "\u03c2", "\u03c3"
_START = attrgetter("start", "end")


def _is_whole(text: str, start: int, end: int) -> bool:
    return not _is_within(text, start) and not _is_within(text, end)


def _is_within(text: str, at: int) -> bool:
    """Return whether the place before a character is within a word."""
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()


def _begun(words: Iterable[str]) -> Iterable[str]:
    for word in words:
        for at, one in enumerate(word):
            yield word[: at + 1]
            yield from (word[:at] + other for other in earlier(one))


def _source(pattern: Pattern) -> str:
    return f"(?i:{pattern.source})" if pattern.ignore_case else f"(?:{pattern.source})"


def _compiled(pattern: Pattern) -> Expression:
    try:
        return compiled(_source(pattern))
    except BadExpression as error:
        raise BadPattern(f"pattern '{pattern.name}' is not one of RE2's: {error}") from error
