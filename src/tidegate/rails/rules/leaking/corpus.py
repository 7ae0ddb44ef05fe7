"""The grams of protected documents, as a sorted list of numbers: eight bytes a word, and none of the text."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tidegate.kernel.text.folding import folded
from tidegate.rails.rules.leaking.words import grams_of, texts_of

MOST_DOCUMENTS: Final = 2**12
MOST_WORDS: Final = 2_000_000
"""The most words of all documents together, so that a corpus takes at most 16 MB."""
_DOCUMENT_BITS: Final = MOST_DOCUMENTS.bit_length() - 1
_GRAM_BITS: Final = 63 - _DOCUMENT_BITS


class Corpus:
    """Protected documents by name. Raises ValueError for files that cannot be read, or that have too little or too much."""

    def __init__(self, documents: Mapping[str, Path], *, least_words: int) -> None:
        self.names = tuple(documents)
        entries: set[int] = set()
        words = 0
        for number, (name, path) in enumerate(documents.items()):
            found = texts_of(folded(_text(name, path)).text)
            words += len(found)
            if len(found) < least_words:
                raise ValueError(
                    f"documents.{name}: {path} has {len(found)} words, and only {least_words} in a row are objected to:"
                    " leave it out, or lower `least_words`"
                )
            if words > MOST_WORDS:
                raise ValueError(
                    f"documents.{name}: with {path} there are more than {MOST_WORDS:,} words: protect fewer documents"
                )
            entries.update(_low(gram) << _DOCUMENT_BITS | number for gram in grams_of(found))
        self._entries = array("q", sorted(entries))

    def find(self, gram: int) -> int:
        """Return the number of the first document that has a gram, or -1."""
        low = _low(gram)
        entries = self._entries
        at = bisect_left(entries, low << _DOCUMENT_BITS)
        if at < len(entries) and entries[at] >> _DOCUMENT_BITS == low:
            return entries[at] & (MOST_DOCUMENTS - 1)
        return -1


def _low(gram: int) -> int:
    return gram & ((1 << _GRAM_BITS) - 1)


def _text(name: str, path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"documents.{name}: {path} cannot be read: {error}; it has to be a text file in UTF-8"
        ) from error
