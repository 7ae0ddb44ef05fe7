"""Runs of words that a text shares with another one, wherever they stand in it.

Grams, which are sequences of `GRAM` words, are looked up in the other text. Words whose grams are all there one after the
other are a run: that five consecutive grams of two texts are equal by chance does not happen (Broder 1997, "On the
resemblance and containment of documents", calls them shingles).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from tidegate.kernel.matching import lower

GRAM: Final = 5
LONGEST_WORD: Final = 32
"""A longer word counts as several ones."""
LONGEST_GAP: Final = 32
"""Words with more between them do not follow each other."""
LETTERS_A_WORD: Final = 2
"""The letters that the words of a run have at least on average: enough for scripts of which each character is a word."""
# Scripts that are written without spaces: each character counts as a word. They are Thai to Burmese, Khmer, and those of
# Chinese and Japanese.
_ALONE: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD: Final = re.compile(f"[{_ALONE}]|[^\\W_{_ALONE}]{{1,{LONGEST_WORD}}}")


class Word(NamedTuple):
    """A word in lower case, from `start` up to, but not including, `end`."""

    start: int
    end: int
    text: str


class Run(NamedTuple):
    """A run of shared words, from the one at `first` up to, but not including, the one at `end`.

    `of` is what the look-up has told of its first gram.
    """

    first: int
    end: int
    of: int


Known = Callable[[int], int]
"""A function that returns a number for a gram of the other text, and -1 for any other gram."""


def words_of(text: str) -> list[Word]:
    """Return the words of a folded text."""
    return [Word(*one.span(), one[0]) for one in _WORD.finditer(lower(text))]


def texts_of(text: str) -> list[str]:
    """Return the words of a folded text without their places, which takes much less time."""
    return _WORD.findall(lower(text))


def grams_of(texts: Sequence[str]) -> Iterator[int]:
    """Return the grams of some words, that of the first word first.

    Grams are numbers: different words have different ones, but for one in 2**61. They hold in this process only.
    """
    return map(hash, zip(*(texts[at:] for at in range(GRAM)), strict=False))


def runs_of(words: Sequence[Word], known: Known) -> Iterator[Run]:
    """Yield all runs, of any length, in order."""
    apart = {at for at, (one, other) in enumerate(pairwise(words)) if other.start - one.end > LONGEST_GAP}
    first, of = -1, -1
    for at, gram in enumerate(grams_of([one.text for one in words])):
        is_apart = apart and not apart.isdisjoint(range(at, at + GRAM - 1))
        found = -1 if is_apart else known(gram)
        if found >= 0 and first < 0:
            first, of = at, found
        elif found < 0 and first >= 0:
            yield Run(first, at + GRAM - 1, of)
            first = -1
    if first >= 0:
        yield Run(first, len(words), of)


def long_runs(words: Sequence[Word], known: Known, least_words: int) -> list[Run]:
    """Return the runs that have so many words, and letters enough for them."""
    return [one for one in runs_of(words, known) if is_long(words, one, least_words)]


def is_long(words: Sequence[Word], run: Run, least_words: int) -> bool:
    """Return whether a run has so many words, and letters enough for them."""
    if run.end - run.first < least_words:
        return False
    letters = 0
    for one in words[run.first : run.end]:
        letters += len(one.text)
    return letters >= least_words * LETTERS_A_WORD
