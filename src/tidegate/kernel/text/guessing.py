"""Readings that nothing in a text announces: digits for letters, rot13, and letters or words in reverse.

They can be made of every text, and are nonsense for most. A rail that asks for them pays for one more search in each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tidegate.kernel.text.mapping import Edit, Offsets, edited, ends_of, starts_of
from tidegate.types.verdict import View

MOST_GUESSES = 5
"""The most readings: leet, rot13, reversed, reversed words, and words in reverse order."""

_LOWER = "abcdefghijklmnopqrstuvwxyz"
_TURNED = _LOWER[13:] + _LOWER[:13]
_ROT13 = str.maketrans(_LOWER + _LOWER.upper(), _TURNED + _TURNED.upper())
_LEET = str.maketrans("013456789@$|+", "oieasgtbgaslt")
# A 1 beside another one, or beside an l, is an l (`a11`); any other is an i (`1gnore`).
_ELL = re.compile(r"(?<=[lL1])1|1(?=[lL1])")
# An exclamation mark is a letter only before another one.
_BANG = re.compile(r"!(?=[\w@$|+])")
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\s+|\S+")


def guesses(view: View) -> Iterator[View]:
    """Yield the readings of the folded view of a text. Those that change nothing are left out."""
    text = view.text
    leet = _BANG.sub("i", _ELL.sub("l", text)).translate(_LEET)
    if leet != text:
        yield view._replace(name="leet", text=leet, keeps=False)
    if not text:
        return
    yield view._replace(name="rot13", text=text.translate(_ROT13))
    yield View(
        "reversed",
        text[::-1],
        Offsets(lambda: starts_of(view)[::-1]),
        Offsets(lambda: ends_of(view)[::-1]),
        keeps=False,
    )
    words = (Edit(match.start(), match.end(), match[0][::-1]) for match in _WORD.finditer(text))
    yield edited(view, words, name="reversed words")
    yield _in_reverse_order(view)


def _in_reverse_order(view: View) -> View:
    tokens = [(match.start(), match.end()) for match in _TOKEN.finditer(view.text)][::-1]
    starts, ends = starts_of(view), ends_of(view)
    return View(
        "words in reverse order",
        "".join(view.text[start:end] for start, end in tokens),
        Offsets(lambda: [starts[start] for start, end in tokens for _ in range(start, end)]),
        Offsets(lambda: [ends[end - 1] for start, end in tokens for _ in range(start, end)]),
        keeps=False,
    )
