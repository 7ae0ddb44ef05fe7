"""The features of the statistics: words, pairs of words, and 3, 4 and 5 characters in a row, as hashes.

Each character of Chinese, Japanese and Korean is a word.

Everything is computed for all places of a text at once, so that a text of 300 characters takes less than 0.1 ms. The work
is bounded: of a text longer than `MOST_CHARACTERS`, only the beginning and the end are read.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_CHARACTERS: Final = 4_096
"""How many characters are read of a text: half of them at its beginning and half at its end where it is longer."""
BITS: Final = 19
"""There are 2 to this power places in the table of weights."""
CHARACTER_GRAMS: Final = (3, 4, 5)

Codes = NDArray[np.uint32]
Places = NDArray[np.uint32]

_STEP: Final = 0x01000193
_MIX: Final = 0x9E3779B1
_PAIR: Final = 0xC2B2AE3D27D4EB4F
_WIDE_MIX: Final = 0x9E3779B97F4A7C15
_WORD_STEP: Final = 0x100000001B3
_LONGEST: Final = (MOST_CHARACTERS + 3) * 3
"""The most characters after folding: casefolding makes up to three of one, and a space is added at three places."""


class Grams(NamedTuple):
    """The places of a text's features in the table of weights, each once: those of its words, and those of characters."""

    words: Places
    characters: Places


class Standing(NamedTuple):
    """All features of a text in the order in which they stand there, also those that come again.

    `starts` has where each word begins, in code points. `words` has the places of words, `pairs` those of a word and the
    next one. `characters` has a list for each length; its features begin at the code points 0, 1, 2 and so on.
    """

    starts: NDArray[np.int64]
    words: Places
    pairs: Places
    characters: list[Places]


def _powers(step: int) -> NDArray[np.uint64]:
    found = np.full(_LONGEST, step, np.uint64)
    found[0] = 1
    return np.multiply.accumulate(found)


_POWERS: Final = _powers(_WORD_STEP)
_INVERSE: Final = _powers(pow(_WORD_STEP, -1, 2**64))
_IN_WORDS: Final = np.array([chr(code).isalnum() or chr(code) in "'_" for code in range(256)])
"""Whether a code point below 256 belongs to a word."""
_ALONE: Final = (
    (0x3040, 0x30FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
"""Kana, the characters of Chinese, and the syllables of Korean."""
_FIRST_ALONE: Final = _ALONE[0][0]


def codes(text: str) -> Codes:
    """Return the code points that are read of a text: folded case, single spaces, a space at each end."""
    if len(text) > MOST_CHARACTERS:
        half = MOST_CHARACTERS // 2
        text = f"{text[:half]} {text[-half:]}"
    plain = " ".join(["", *text.casefold().split(), ""])
    return np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), np.uint32)


def standing(found: Codes) -> Standing:
    """Return all features of a text in their order. There are at most 2 for each word, and 3 for each code point."""
    starts, words, pairs = _words(found)
    return Standing(starts, words, pairs, _characters(found))


def grams(found: Codes) -> Grams:
    """Return the features of a text, each once."""
    every = standing(found)
    return Grams(_once(np.concatenate([every.words, every.pairs])), _once(np.concatenate(every.characters)))


def _words(found: Codes) -> tuple[NDArray[np.int64], Places, Places]:
    """Return where words begin, the places of words, and those of pairs of words.

    A word's hash is a polynomial of its characters: the difference of two running sums, moved to where the word begins.
    """
    plain = (found < 0x2000) | (
        (found >= 0x2070) & (found != 0x3002)
    )  # no dash, quote or full stop of other scripts
    inside = np.where(found < 256, _IN_WORDS[found & 255], plain)
    apart = inside[1:] != inside[:-1]
    if found.max() >= _FIRST_ALONE:
        apart |= _beside_alone(found)
    starts = np.flatnonzero(apart & inside[1:]) + 1
    ends = np.flatnonzero(apart & inside[:-1]) + 1
    sums = np.zeros(len(found) + 1, np.uint64)
    np.cumsum(found * _POWERS[: len(found)], out=sums[1:])
    words = (sums[ends] - sums[starts]) * _INVERSE[starts] + np.uint64(1)
    pairs = words[:-1] * np.uint64(_PAIR) + words[1:]
    return starts, _placed(words), _placed(pairs)


def _beside_alone(found: Codes) -> NDArray[np.bool_]:
    """Return for each place but the first one whether a character that is a word of its own ends before it or stands there.

    Chinese and Japanese have no spaces between words, and Korean words have many endings: their pairs of characters tell
    what the words of other languages do.
    """
    alone = np.zeros(len(found), np.bool_)
    for first, last in _ALONE:
        alone |= (found >= first) & (found <= last)
    return alone[1:] | alone[:-1]


def _placed(hashes: NDArray[np.uint64]) -> Places:
    return ((hashes * np.uint64(_WIDE_MIX)) >> np.uint64(64 - BITS)).astype(np.uint32)


def _characters(found: Codes) -> list[Places]:
    run = found
    parts: list[Places] = []
    for length in range(2, max(CHARACTER_GRAMS) + 1):
        run = run[:-1] * np.uint32(_STEP) + found[length - 1 :]  # empty for a text that is shorter
        if length in CHARACTER_GRAMS:
            mixed = (run ^ (run >> np.uint32(15))) + np.uint32(length)
            parts.append((mixed * np.uint32(_MIX)) >> np.uint32(32 - BITS))
    return parts


def _once(places: Places) -> Places:
    """Return the places without repetition, in order."""
    if len(places) < 2:
        return places
    places.sort()
    return places[np.concatenate(([True], places[1:] != places[:-1]))]
