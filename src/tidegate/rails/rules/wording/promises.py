"""Finds promises in the sentences of a text, and tells them from what is only wished, denied, asked or conditional."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Final, NamedTuple

from tidegate.kernel.linear import Expression, Presence, compiled, places, quoted
from tidegate.kernel.matching import lower, searchable, without_surrogates
from tidegate.kernel.text.folding import folded
from tidegate.rails.rules.wording.grammar import BETWEEN, source, spaced
from tidegate.rails.rules.wording.offers import Allowed
from tidegate.rails.rules.wording.promising import ENGLISH, US, Promises
from tidegate.rails.rules.wording.promising_abroad import FRENCH, GERMAN, SPANISH
from tidegate.types.verdict import Span

BOOKS: Final = (ENGLISH, GERMAN, SPANISH, FRENCH)
SCORE: Final = 0.8
_END: Final = re.compile(r"[.!?…]+[\"')\]*_]*(?=\s)|\n\s*\n|\n(?=\s*(?:[-*•#>]|[0-9]+[.)]))")
_PART: Final = re.compile(
    r"[;:(]|--| - |,\s*(?:but|so|and|however|then|yet|therefore|aber|und|also|daher|pero|y|asi que|mais|et|donc)\b"
    r"|\bbut\b|\baber\b"
)
_AROUND: Final = 300
"""How much of a sentence before and behind a promise is looked at."""
_HARMLESS_NO: Final = re.compile(
    r"\bat no (?:extra |additional )?(?:cost|charge)|\bwithout (?:any )?(?:cost|charge)|\bno (?:problem|matter)|\bwhy not"
    r"|\bno questions asked|\bno (?:later|more) than|\bnot later than|\bohne (?:aufpreis|kosten)|\bsans frais|\bsin costo"
)

_LIKE: Final = re.compile(r"\b(?:as|like|wie|como|comme)$")
_LIKE_CHARS: Final = 6  # the longest of them, and what stands before it


class _Row(NamedTuple):
    category: str
    expression: Expression
    is_negative: bool
    """Whether the promise has a negation in it."""


class _Found(NamedTuple):
    """What looks like a promise. Those of one sentence are judged together, in the order of the books and their rows."""

    sentence: int
    book: int
    row: int
    start: int
    end: int


class _Sentence:
    """A sentence in lower case, and what all promises in it are judged by. It is looked through once for all of them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts = [0, *(found.end() for found in _PART.finditer(text))]
        self._earnest = _HARMLESS_NO.sub(lambda found: " " * len(found[0]), text)

    def part(self, start: int) -> int:
        """Return where the part of the sentence begins in which a promise begins."""
        return max(self._parts[bisect_right(self._parts, start) - 1], start - _AROUND)

    def earnest(self, start: int, end: int) -> bytes:
        """Return a part of the sentence without the negations that deny nothing, such as `at no cost`."""
        return self._earnest[start:end].encode()


class _Book:
    """The promises of one language. What it looks at is in lower case."""

    def __init__(self, promises: Promises, us: str, categories: Collection[str]) -> None:
        names = f"(?:{promises.us}{us})"
        slots = {name: words.replace(US, names) for name, words in promises.slots.items()}
        self.sources: list[str] = []
        self.rows: list[_Row] = []
        for category in promises.rows:
            if category not in categories:
                continue
            for negative in (False, True):
                rows = [row for row in promises.rows[category] if row.startswith("not ") is negative]
                if rows:
                    every = "|".join(source(row.removeprefix("not "), slots) for row in rows)
                    self.sources.append(every)
                    self.rows.append(_Row(category, compiled(every), negative))
        doubts, denials = _words(promises.doubts), _words(promises.denials)
        self._doubts, self._denials = Presence([doubts]), Presence([denials])
        self._takes_back = Presence([doubts, denials])
        self._conditions = Presence([_words(promises.conditions)])
        self._bargains = compiled(rf"\b(?:{spaced(promises.bargains)})")
        self._reported = compiled(rf"\b(?:{spaced(promises.reported)}),?(?:{BETWEEN}|:)*$")
        self._quoting = Presence([_words(promises.quoting)])
        # Both are looked for in what stands behind a promise.
        self._undone = Presence([rf"\b(?:{promises.refusals})\b", rf"^{BETWEEN}(?:{promises.about})\b"])
        self._questions = Presence(
            [rf"^[\s\"'¿*-]*(?:(?:and|so|but|also|und|y|et)\s+)?(?:{promises.questions})\b"]
        )

    def without_bargains(self, sentence: str) -> str:
        """Return a sentence of the same length without what the other one has to do to get what is promised."""
        return _replaced(sentence, places(self._bargains, sentence), " ")

    def is_none(self, sentence: _Sentence, unbound: str, start: int, end: int, *, is_negative: bool) -> bool:
        """Return whether what looks like a promise is none. `unbound` is the sentence without bargains."""
        first, last = max(start - _AROUND, 0), end + _AROUND
        part = sentence.part(start)
        if is_negative:
            if self._doubts.within(sentence.earnest(part, end)):
                return True
            if self._denials.within(sentence.text[part:start].encode()):
                return True
        elif self._takes_back.within(sentence.earnest(part, end)):
            return True
        after = sentence.text[end:last]
        if self._undone.within(after.encode()) or self._conditions.within(unbound[first:last].encode()):
            return True
        near = sentence.text[first:last]
        if after.rstrip("\"')*_ ").endswith("?") and self._questions.within(near.encode()):
            return True
        return self._is_of_others(near, start - first, end - first)

    def _is_of_others(self, sentence: str, start: int, end: int) -> bool:
        """Return whether the words are those of somebody else."""
        before = sentence[:start]
        reported = self._reported.search(searchable(before))
        if reported is not None and not _LIKE.search(before[: reported.start()].rstrip()[-_LIKE_CHARS:]):
            return True
        return _is_quoted(sentence, start, end) and self._quoting.within(_outside_quotes(sentence).encode())


class PromiseSearch:
    """The search for promises of some categories, made by a company with some names."""

    def __init__(self, categories: Collection[str], names: Sequence[str]) -> None:
        us = "".join(f"|{BETWEEN.join(map(quoted, one.split()))}" for one in names)
        self._books = [_Book(book, us, categories) for book in BOOKS]
        self.sources = [one for book in self._books for one in book.sources]
        self._any = Presence(self.sources)

    def find(self, text: str, allowed: Allowed) -> list[Span]:
        """Return the promises in a folded text that are not allowed."""
        if not self._any.within(text.encode("utf-8", "replace")):
            return []
        said = lower(without_surrogates(text))
        # An offer in a sentence must not hide another promise of it: only its own words are left out.
        masked = allowed.without_offers(said)
        ends = list(_ends(said))
        found: list[Span] = []
        for at, promises in groupby(self._sought(masked, ends), key=lambda one: one.sentence):
            begin = ends[at - 1][1] if at else 0
            sentence = masked[begin : ends[at][1]]
            found += self._judged(sentence, begin, promises, allowed)
        return found

    def _sought(self, text: str, ends: Sequence[tuple[int, int]]) -> list[_Found]:
        """Return what looks like a promise in any sentence of a text, whose ends are given, in the order of sentences."""
        # One search through the whole text costs less than one for each sentence. No row goes on behind a semicolon.
        apart = _replaced(text, ends, ";")
        behind = [end for _, end in ends]
        return sorted(
            _Found(bisect_right(behind, start), number, place, start, end)
            for number, book in enumerate(self._books)
            for place, row in enumerate(book.rows)
            for start, end in places(row.expression, apart)
        )

    def _judged(self, text: str, begin: int, promises: Iterable[_Found], allowed: Allowed) -> Iterator[Span]:
        """Yield the promises of a sentence that begins at `begin`, without those that are none or are allowed."""
        sentence = _Sentence(text)
        unbound: dict[int, str] = {}
        covered = allowed.covered(text)
        for one in promises:
            book = self._books[one.book]
            category = book.rows[one.row].category
            if category in covered:
                continue
            if one.book not in unbound:
                unbound[one.book] = book.without_bargains(text)
            start, end = one.start - begin, one.end - begin
            is_negative = book.rows[one.row].is_negative
            if not book.is_none(sentence, unbound[one.book], start, end, is_negative=is_negative):
                yield Span(one.start, one.end, category.upper(), SCORE)


@lru_cache(maxsize=16)
def promise_search(categories: frozenset[str], names: tuple[str, ...]) -> PromiseSearch:
    """Return the search for some categories. It takes long to make, and never changes."""
    return PromiseSearch(categories, [lower(folded(one).text) for one in names])


def _ends(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of what ends the sentences of a text. The last one has an end of no length if it has no other."""
    end = 0
    for found in _END.finditer(text):
        end = found.end()
        yield found.span()
    if end < len(text):
        yield len(text), len(text)


def _replaced(text: str, places: Iterable[tuple[int, int]], character: str) -> str:
    """Return a text of the same length with one character in each of some places, which are in order."""
    parts: list[str] = []
    after = 0
    for start, end in places:
        parts += (text[after:start], character * (end - start))
        after = end
    return "".join((*parts, text[after:]))


def _is_quoted(text: str, start: int, end: int) -> bool:
    """Return whether a part of a text is within quotes."""
    closing = text.find('"', start)
    return text.count('"', 0, start) % 2 == 1 and closing >= 0 and closing + 1 >= end


def _outside_quotes(text: str) -> str:
    parts = text.split('"')
    unclosed = "" if len(parts) % 2 else f'"{parts[-1]}'
    return "".join(parts[::2]) + unclosed


def _words(source: str) -> str:
    return rf"\b(?:{spaced(source)})\b"
