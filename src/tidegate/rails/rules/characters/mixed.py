"""Words in which letters of one script stand for those of another that look the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tidegate.kernel.linear import compiled
from tidegate.kernel.matching import without_surrogates
from tidegate.types.verdict import Span

MIXED: Final = "MIXED_SCRIPTS"
LONGEST_WORD: Final = 64
"""The longest word that is judged, in characters."""
_FEWEST_LETTERS: Final = 3

_LATIN_TWINS: Final = frozenset("aceiopsxyhjkABCEHIJKMNOPSTXYZ")
_TWINS: Final = frozenset(
    map(
        chr,
        (
            # Cyrillic: small a, e, o, er, es, u, ha, i, je, dze, shha, komi de, qa, and the capitals.
            *(0x430, 0x435, 0x43E, 0x440, 0x441, 0x443, 0x445, 0x456, 0x458, 0x455, 0x4BB, 0x501, 0x51B),
            *(
                0x410,
                0x412,
                0x415,
                0x41A,
                0x41C,
                0x41D,
                0x41E,
                0x420,
                0x421,
                0x422,
                0x425,
                0x406,
                0x408,
                0x405,
            ),
            # Greek: small alpha, iota, omicron, rho, upsilon, nu, and the capitals.
            *(0x3B1, 0x3B9, 0x3BF, 0x3C1, 0x3C5, 0x3BD),
            *(
                0x391,
                0x392,
                0x395,
                0x396,
                0x397,
                0x399,
                0x39A,
                0x39C,
                0x39D,
                0x39F,
                0x3A1,
                0x3A4,
                0x3A5,
                0x3A7,
            ),
        ),
    )
)
_WORD: Final = re.compile(r"[^\W\d_]+")
_LAST_WORD: Final = re.compile(rf"(?<![^\W\d_])[^\W\d_]{{1,{LONGEST_WORD}}}\Z")
# A word of several scripts has a Latin letter beside one of another script.
_SEAM: Final = compiled(r"[A-Za-z][\x{370}-\x{52f}]|[\x{370}-\x{52f}][A-Za-z]")
_OTHER: Final = re.compile("[\u0370-\u03ff\u0400-\u052f]")


def mixed_words(text: str, start: int = 0) -> Iterator[Span]:
    """Yield the words that begin at `start` or later and have look-alike letters of another script.

    A word of Latin letters is one if all its other letters look like Latin ones. A Cyrillic or Greek word is one if a Latin
    letter that looks like one of its own stands within it: a Latin stem with an ending is usual.
    """
    if _SEAM.search(without_surrogates(text)) is None:
        return
    for match in _WORD.finditer(text):
        word = match[0]
        if match.start() >= start and _FEWEST_LETTERS <= len(word) <= LONGEST_WORD and _is_mixed(word):
            yield Span(match.start(), match.end(), MIXED)


def last_word(text: str, start: int = 0) -> int:
    """Return where the word at the end of a text begins, from `start` on; the length of the text if there is none."""
    found = _LAST_WORD.search(text, max(start, len(text) - LONGEST_WORD - 1))
    return found.start() if found else len(text)


def _is_mixed(word: str) -> bool:
    latin = [one for one in word if one.isascii()]
    others = [one for one in word if _OTHER.match(one)]
    if not latin or not others:
        return False
    if _TWINS.issuperset(others):
        return not _LATIN_TWINS.issuperset(latin)
    return _LATIN_TWINS.issuperset(latin) and not word[0].isascii() and not word[-1].isascii()
