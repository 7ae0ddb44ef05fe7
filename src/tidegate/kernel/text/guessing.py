"""Readings that nothing in a text announces: digits for letters, rot13, and letters or words in reverse.

They can be made of every text, and are nonsense for most. A rail that asks for them pays for one more search in each.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from tidegate.kernel.text.mapping import Made, ends_of, starts_of, within
from tidegate.types.verdict import View

MOST_GUESSES = 6
"""The most readings: two of leet, rot13, reversed, reversed words, and words in reverse order."""

_LOWER = "abcdefghijklmnopqrstuvwxyz"
_TURNED = _LOWER[13:] + _LOWER[:13]
_ROT13 = bytes.maketrans((_LOWER + _LOWER.upper()).encode(), (_TURNED + _TURNED.upper()).encode())
LEET = bytes.maketrans(b"013456789@$|+", b"oieasgtbgaslt")
"""The letters that digits and signs stand for, where their neighbours do not matter."""
# A 1 is an i (`1gnore`), but beside another one, or beside an l, it may be an l (`a11`).
_ELL = re.compile(r"1(?:(?=[lL1])|(?<=[lL1]1))")
# An exclamation mark is a letter only before another one.
_BANG = re.compile(r"!(?=[\w@$|+])")
_WORD = re.compile(r"\s+|\S+")


def guesses(view: View) -> Iterator[View]:
    """Yield the readings of the folded view of a text. Those that change nothing are left out."""
    text = view.text
    signs = _BANG.sub("i", text)
    leet = swapped(signs, LEET)
    if leet != text:
        yield View("leet", leet, starts_of(view), ends_of(view), keeps=False)
    with_ell = _ELL.sub("l", signs)
    if with_ell != signs:
        yield View("leet, l", swapped(with_ell, LEET), starts_of(view), ends_of(view), keeps=False)
    if not text:
        return
    yield View("rot13", swapped(text, _ROT13), starts_of(view), ends_of(view))
    yield _backwards(view)._replace(name="reversed")
    turned = in_reverse_order(view)
    yield turned
    yield _backwards(turned)._replace(name="reversed words")


def swapped(text: str, table: bytes) -> str:
    """Return a text with its ASCII characters replaced. As bytes this is ten times as fast beside other characters."""
    return text.encode("utf-8", "surrogatepass").translate(table).decode("utf-8", "surrogatepass")


def _backwards(view: View) -> View:
    text = view.text[::-1]
    last = len(text) - 1

    def place(index: int) -> int:
        return last - index

    return within(view, "", text, place, place, keeps=False)


def in_reverse_order(view: View) -> View:
    """Return the words in reverse order. Each character stands for its whole word, so that the offsets fall steadily."""
    words: list[str] = _WORD.findall(view.text)[::-1]
    ends = Made(lambda: accumulate(map(len, words)))
    length = len(view.text)

    def first(index: int) -> int:
        return length - ends.list()[bisect_right(ends.list(), index)]

    def last(index: int) -> int:
        word = bisect_right(ends.list(), index)
        return length - ends.list()[word] + len(words[word]) - 1

    return within(view, "words in reverse order", "".join(words), first, last, keeps=False)
