"""Searches texts for the phrases of many languages at once.

A list of all anchors is searched first, which takes a microsecond for a short text. Only the patterns of the languages
whose anchors occur are searched then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import ahocorasick_rs

from tidegate.kernel.matching import Match, Pattern, PatternSet
from tidegate.rails.rules.phrases.grammar import Phrase, Phrasebook, sought
from tidegate.rails.rules.phrases.markers import Marker
from tidegate.types.verdict import Span


class _Language(NamedTuple):
    """The phrases of a language, by the names of their patterns."""

    phrases: Mapping[str, Phrase]
    patterns: PatternSet


class PhraseSearch:
    """The phrases of some books that are at least so sure.

    All patterns are compiled when the search is made: the books together take about 80 ms and 6 MiB. No text pays for it.
    """

    def __init__(self, books: Iterable[Phrasebook], *, least: float) -> None:
        self._languages: dict[str, _Language] = {}
        anchors: defaultdict[str, set[str]] = defaultdict(set)
        turned: set[str] = set()
        for book in books:
            known = [one for one in sought(book) if one.phrase.score >= least]
            self._languages[book.language] = _Language(
                {one.pattern.name: one.phrase for one in known}, PatternSet(one.pattern for one in known)
            )
            for one in known:
                for anchor in one.anchors:
                    anchors[anchor].add(book.language)
                turned.update(one.turned)
        for one in turned:
            anchors.setdefault(one, set())
        self._turned = frozenset(at for at, anchor in enumerate(anchors) if anchor in turned)
        self._anchored = [frozenset(languages) for languages in anchors.values()]
        self._automaton = ahocorasick_rs.AhoCorasick(list(anchors))

    def anchored(self, letters: str) -> tuple[bool, bool]:
        """Return whether an anchor is among the letters of a text as it is, and whether one is in rot13 or in reverse."""
        found = {at for at, _, _ in self._automaton.find_matches_as_indexes(letters, overlapping=True)}
        return any(self._anchored[at] for at in found), not found.isdisjoint(self._turned)

    def find(self, letters: str, start: int = 0) -> Sequence[Span]:
        """Return the phrases among the letters of a text that begin at `start` or later."""
        anchors = self._automaton.find_matches_as_indexes(letters, overlapping=True)
        if not anchors:
            return ()
        found: list[Span] = []
        for name in {name for at, _, _ in anchors for name in self._anchored[at]}:
            language = self._languages[name]
            found += (
                _span(one, language.phrases[one.name]) for one in language.patterns.find(letters, start)
            )
        return found


class MarkerSearch:
    """The markers that are at least so sure."""

    def __init__(self, markers: Iterable[Marker], *, least: float) -> None:
        known = [one for one in markers if one.score >= least]
        self._markers = {str(at): one for at, one in enumerate(known)}
        self._patterns = PatternSet(
            Pattern(name, one.source, ignore_case=True) for name, one in self._markers.items()
        )

    def find(self, text: str, start: int = 0) -> Sequence[Span]:
        """Return the markers in a text that begin at `start` or later."""
        return [_span(one, self._markers[one.name]) for one in self._patterns.find(text, start)]


def _span(match: Match, known: Phrase | Marker) -> Span:
    return Span(match.start, match.end, known.category.upper(), known.score)
