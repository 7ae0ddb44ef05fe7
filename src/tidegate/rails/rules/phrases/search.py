"""Searches texts for the phrases of many languages at once.

A list of all anchors is searched first, which takes a microsecond for a short text. Only the patterns of the languages
whose anchors occur are searched then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import ahocorasick_rs

from tidegate.kernel.linear import Expression, compiled, compiled_set
from tidegate.kernel.matching import Pattern, PatternSet
from tidegate.rails.rules.phrases.grammar import Phrase, Phrasebook, Sought, sought
from tidegate.rails.rules.phrases.markers import Marker
from tidegate.types.verdict import Span


class _Language:
    """The phrases of a language, as patterns on the bytes of a text: RE2 counts characters again for each search."""

    def __init__(self, known: Sequence[Sought]) -> None:
        self.phrases = tuple(one.phrase for one in known)
        sources = [f"(?:{one.source})" for one in known]
        self._any = compiled("|".join(sources)) if sources else None
        self._set = compiled_set(sources)
        self._sources = sources

    def find(self, text: str, letters: bytes, start: int) -> Iterator[tuple[int, int, Phrase]]:
        """Yield the phrases in a text that begin at `start` or later. Places are those in `letters`, its bytes."""
        if self._any is None or self._any.search(letters, start) is None:
            return
        # A set finds nothing if it runs out of memory, and does not say so.
        for at in self._set.Match(text) or range(len(self._sources)):
            for one in _alone(self._sources[at]).finditer(letters, start):
                yield *one.span(), self.phrases[at]


@lru_cache(maxsize=4096)
def _alone(source: str) -> Expression:
    """Return the pattern of one phrase. It takes part of a millisecond, and most are never needed."""
    return compiled(source)


class PhraseSearch:
    """The phrases of some books that are at least so sure.

    The patterns of all languages are compiled when the search is made, so that no request waits for them: 15 MiB.
    """

    def __init__(self, books: Iterable[Phrasebook], *, least: float) -> None:
        self._languages: dict[str, _Language] = {}
        anchors: defaultdict[str, set[str]] = defaultdict(set)
        turned: set[str] = set()
        for book in books:
            known = [one for one in sought(book) if one.phrase.score >= least]
            self._languages[book.language] = _Language(known)
            for one in known:
                for anchor in one.anchors:
                    anchors[anchor].add(book.language)
                turned.update(one.turned)
        for one in turned:
            anchors.setdefault(one, set())
        self._turned = frozenset(at for at, anchor in enumerate(anchors) if anchor in turned)
        self._anchored = [frozenset(languages) for languages in anchors.values()]
        self.anchors = tuple(anchors)
        """Letters some of which every text has with a phrase, or with one in rot13 or in reverse."""
        self._automaton = ahocorasick_rs.AhoCorasick(self.anchors)

    def anchored(self, letters: str) -> tuple[bool, bool]:
        """Return whether an anchor is among the letters of a text as it is, and whether one is in rot13 or in reverse."""
        found = {at for at, _, _ in self._automaton.find_matches_as_indexes(letters, overlapping=True)}
        return any(self._anchored[at] for at in found), not found.isdisjoint(self._turned)

    def find(self, letters: str, start: int = 0) -> Sequence[Span]:
        """Return the phrases among the letters of a text that begin at `start` or later."""
        anchors = self._automaton.find_matches_as_indexes(letters, overlapping=True)
        if not anchors:
            return ()
        raw = letters.encode("utf-8", "replace")
        at = len(letters[:start].encode("utf-8", "replace"))
        names = {name for at, _, _ in anchors for name in self._anchored[at]}
        found = [one for name in names for one in self._languages[name].find(letters, raw, at)]
        if len(raw) == len(letters):
            return [_span(*one) for one in found]
        return [_span(_chars(raw, first), _chars(raw, end), phrase) for first, end, phrase in found]


def _chars(raw: bytes, end: int) -> int:
    return len(raw[:end].decode())


class MarkerSearch:
    """The markers that are at least so sure."""

    def __init__(self, markers: Iterable[Marker], *, least: float) -> None:
        known = [one for one in markers if one.score >= least]
        self._markers = {str(at): one for at, one in enumerate(known)}
        self._patterns = PatternSet(
            Pattern(name, one.source, ignore_case=True) for name, one in self._markers.items()
        )
        self.signs = tuple(f"(?i:{one.source})" for one in known)

    def find(self, text: str, start: int = 0) -> Sequence[Span]:
        """Return the markers in a text that begin at `start` or later."""
        found = self._patterns.find(text, start)
        return [_span(one.start, one.end, self._markers[one.name]) for one in found]


def _span(start: int, end: int, known: Phrase | Marker) -> Span:
    return Span(start, end, known.category.upper(), known.score)
