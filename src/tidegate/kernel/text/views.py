"""A text, and the ways in which it can be read. This module decides which views there are; the others make them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, compress, count, islice

from tidegate.kernel.text.decoding import NO_LETTERS, ROUNDS, Decoding
from tidegate.kernel.text.folding import folded
from tidegate.kernel.text.guessing import guesses
from tidegate.kernel.text.hiding import MOST_HIDDEN_VIEWS, hidden
from tidegate.kernel.text.mapping import beneath, within
from tidegate.types.verdict import View

MOST_DECODED = MOST_HIDDEN_VIEWS + (1 + MOST_HIDDEN_VIEWS) * ROUNDS
"""The most decoded views of one text: each hidden text, and the rounds of decoding the text itself and each of those."""

_LOWER = bytes(range(256)).lower()
_BLOCK_CHARS = 256


class Views:
    """A text, and the ways in which it can be read. Each view is made on first use, once for all rails.

    No view is longer than the text by more than the factor `folding.MOST_FOR_ONE`, and the time for all of them grows
    with the length of the text: callers pass long texts in `slices`.
    """

    __slots__ = ("_decoded", "_folded", "_guessed", "_skeleton", "original")

    def __init__(self, text: str) -> None:
        self.original = text
        self._folded: View | None = None
        self._decoded: Sequence[View] | None = None
        self._guessed: Sequence[View] | None = None
        self._skeleton: View | None = None

    @property
    def folded(self) -> View:
        """The text without invisible characters, with compatible and confusable characters replaced by plain ones."""
        view = self._folded
        if view is None:
            view = self._folded = folded(self.original)
        return view

    @property
    def decoded(self) -> Sequence[View]:
        """The texts that an encoding or invisible characters hide, each folded. There are at most `MOST_DECODED`."""
        if self._decoded is None:
            self._decoded = tuple(_decoded(self.original, self.folded))
        return self._decoded

    @property
    def guessed(self) -> Sequence[View]:
        """Readings that nothing announces: leet, rot13 and reversed. There are at most `guessing.MOST_GUESSES`."""
        if self._guessed is None:
            self._guessed = tuple(guesses(self.folded))
        return self._guessed

    @property
    def skeleton(self) -> View:
        """The letters of the folded text alone, in lower case: no spaces, digits or punctuation."""
        if self._skeleton is None:
            self._skeleton = letters_of(self.folded)
        return self._skeleton


def _decoded(text: str, plain: View) -> Sequence[View]:
    decoding = Decoding()
    views: list[View] = []
    for found in hidden(text):
        view = beneath(folded(found.text)._replace(name=found.name, keeps=False), found)
        views += (view, *decoding.rounds(view))
    return [*views, *decoding.rounds(plain)]


def letters_of_ascii(text: bytes) -> str:
    """Return the letters of a text in ASCII alone, in lower case: what `letters_of` has for it."""
    return text.translate(_LOWER, NO_LETTERS).decode("ascii")


def letters_of(view: View) -> View:
    """Return the letters of a view alone, in lower case: no spaces, digits or punctuation."""
    text = view.text
    place = _Letters(text).place
    return within(view, "skeleton", _letters(text), place, place, keeps=True)


def _letters(text: str) -> str:
    # As bytes, ASCII is dealt with ten times as fast; the bytes of other characters stay as they are.
    letters = (
        text.encode("utf-8", "surrogatepass").translate(_LOWER, NO_LETTERS).decode("utf-8", "surrogatepass")
    )
    if not letters.isascii():
        letters = (letters if letters.isalpha() else "".join(filter(str.isalpha, letters))).lower()
    return letters


class _Letters:
    """The letters of a text, to be found by their number. Only the block with the letter is looked at closely."""

    __slots__ = ("_ends", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._ends: list[int] | None = None

    def place(self, number: int) -> int:
        ends = self._ends
        if ends is None:
            ends = self._ends = list(accumulate(self._sizes()))
        block = bisect_right(ends, number)
        number -= ends[block - 1] if block else 0
        start = block * _BLOCK_CHARS
        letters = map(str.isalpha, self._text[start : start + _BLOCK_CHARS])
        return next(islice(compress(count(start), letters), number, None))

    def _sizes(self) -> Iterator[int]:
        for at in range(0, len(self._text), _BLOCK_CHARS):
            yield len(_letters(self._text[at : at + _BLOCK_CHARS]))
