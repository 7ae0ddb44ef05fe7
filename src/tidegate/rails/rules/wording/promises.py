"""Finds promises in the sentences of a text, and tells them from what is only wished, denied, asked or conditional."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from tidegate.kernel.linear import Expression, compiled, quoted
from tidegate.kernel.matching import lower, without_surrogates
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
_QUOTES: Final = re.compile(r"\"[^\"]*\"")
_HARMLESS_NO: Final = re.compile(
    r"\bat no (?:extra |additional )?(?:cost|charge)|\bwithout (?:any )?(?:cost|charge)|\bno (?:problem|matter)|\bwhy not"
    r"|\bno questions asked|\bno (?:later|more) than|\bnot later than|\bohne (?:aufpreis|kosten)|\bsans frais|\bsin costo"
)


class _Row(NamedTuple):
    category: str
    expression: Expression
    is_negative: bool
    """Whether the promise has a negation in it."""


class _Book:
    """The promises of one language. What it looks at is in lower case."""

    def __init__(self, promises: Promises, us: str, categories: Collection[str]) -> None:
        names = f"(?:{promises.us}{us})"
        slots = {name: words.replace(US, names) for name, words in promises.slots.items()}
        self.sources: list[str] = []
        self._rows: list[_Row] = []
        for category in promises.rows:
            if category not in categories:
                continue
            for negative in (False, True):
                rows = [row for row in promises.rows[category] if row.startswith("not ") is negative]
                if rows:
                    every = "|".join(source(row.removeprefix("not "), slots) for row in rows)
                    self.sources.append(every)
                    self._rows.append(_Row(category, compiled(every), negative))
        self._doubts = _words(promises.doubts)
        self._denials = _words(promises.denials)
        self._conditions = _words(promises.conditions)
        self._bargains = compiled(rf"\b(?:{spaced(promises.bargains)})")
        self._reported = compiled(rf"\b(?:{spaced(promises.reported)}),?(?:{BETWEEN}|:)*$")
        self._quoting = _words(promises.quoting)
        self._refusals = compiled(rf"\b(?:{promises.refusals})\b")
        self._about = compiled(rf"^{BETWEEN}(?:{promises.about})\b")
        self._questions = compiled(
            rf"^[\s\"'¿*-]*(?:(?:and|so|but|also|und|y|et)\s+)?(?:{promises.questions})\b"
        )

    def find(self, sentence: str, begin: int) -> Iterator[Span]:
        """Yield the promises of a sentence that begins at `begin` in its text."""
        for row in self._rows:
            for found in row.expression.finditer(sentence):
                start, end = found.span()
                first = max(start - _AROUND, 0)
                near = sentence[first : end + _AROUND]
                if not self._is_none(near, start - first, end - first, is_negative=row.is_negative):
                    yield Span(begin + start, begin + end, row.category.upper(), SCORE)

    def _is_none(self, sentence: str, start: int, end: int, *, is_negative: bool) -> bool:
        """Return whether what looks like a promise is none."""
        before, after = sentence[:start], sentence[end:]
        part = before[max((found.end() for found in _PART.finditer(before)), default=0) :]
        said = _HARMLESS_NO.sub("", f"{part}{sentence[start:end]}")
        if self._doubts.search(said) or self._denials.search(part if is_negative else said):
            return True
        if self._refusals.search(after) or self._about.search(after) or self._is_conditional(sentence):
            return True
        asks = after.rstrip("\"')*_ ").endswith("?") and self._questions.search(sentence)
        return bool(asks) or self._is_of_others(sentence, start, end)

    def _is_conditional(self, sentence: str) -> bool:
        return self._conditions.search(self._without_bargains(sentence)) is not None

    def _without_bargains(self, sentence: str) -> str:
        parts: list[str] = []
        after = 0
        for found in self._bargains.finditer(sentence):
            parts.append(sentence[after : found.start()])
            after = found.end()
        return " ".join((*parts, sentence[after:]))

    def _is_of_others(self, sentence: str, start: int, end: int) -> bool:
        """Return whether the words are those of somebody else."""
        before = sentence[:start]
        reported = self._reported.search(before)
        if reported is not None and not re.search(
            r"\b(?:as|like|wie|como|comme)\s*$", before[: reported.start()]
        ):
            return True
        quoted_here = any(one.start() <= start and end <= one.end() for one in _QUOTES.finditer(sentence))
        return quoted_here and self._quoting.search(_QUOTES.sub("", sentence)) is not None


class PromiseSearch:
    """The search for promises of some categories, made by a company with some names."""

    def __init__(self, categories: Collection[str], names: Sequence[str]) -> None:
        us = "".join(f"|{BETWEEN.join(map(quoted, one.split()))}" for one in names)
        self._books = [_Book(book, us, categories) for book in BOOKS]
        self.sources = [one for book in self._books for one in book.sources]
        self._any = compiled("|".join(f"(?:{one})" for one in self.sources))

    def find(self, text: str, allowed: Allowed) -> list[Span]:
        """Return the promises in a folded text that are not allowed."""
        if self._any.search(text.encode("utf-8", "replace")) is None:
            return []
        said = lower(without_surrogates(text))
        # An offer in a sentence must not hide another promise of it: only its own words are left out.
        masked = allowed.without_offers(said)
        found: list[Span] = []
        for start, end in _sentences(said):
            sentence = masked[start:end]
            spans = (one for book in self._books for one in book.find(sentence, start))
            found += (one for one in spans if not allowed.covers(one.kind.lower(), sentence))
        return found


@lru_cache(maxsize=16)
def promise_search(categories: frozenset[str], names: tuple[str, ...]) -> PromiseSearch:
    """Return the search for some categories. It takes long to make, and never changes."""
    return PromiseSearch(categories, [lower(folded(one).text) for one in names])


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    for found in _END.finditer(text):
        yield begin, found.end()
        begin = found.end()
    if begin < len(text):
        yield begin, len(text)


def _words(source: str) -> Expression:
    return compiled(rf"\b(?:{spaced(source)})\b")
