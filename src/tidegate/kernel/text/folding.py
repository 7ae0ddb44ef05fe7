"""The folded view: a text without invisible characters, with compatible and confusable characters replaced by plain ones.

Folding looks at one character at a time, so a part of a text folds as it does within the whole. It is for comparison, not
for display: `é` becomes `e`, and Cyrillic or Greek letters that look like Latin ones become those. Words and patterns in
such languages therefore have to be folded too before they are searched in the folded view. Marks that are letters, such as
those of Hindi, Thai, Arabic and Hebrew, stay. Upper and lower case stay as they are.

Two rules look at a neighbour: a kana, jamo or other letter and its mark are composed, as in NFKC, and marks of
other scripts on an ASCII letter are dropped.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import accumulate

from tidegate.kernel.text.confusables import confusables
from tidegate.kernel.text.mapping import Edit, Made, edited, within
from tidegate.types.verdict import View

MOST_FOR_ONE = 8
"""The most characters that one character folds to. The few with longer decompositions, such as U+FDFA, stay."""

SELECTORS = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
"""Variation selectors, as (first, last)."""

TAGS = (0xE0000, 0xE007F)
"""Tag characters, as (first, last): ASCII plus 0xE0000."""

# Marks that decorate letters of any script. Marks of single scripts are letters to their readers.
_DECORATIONS = (
    (0x0300, 0x036F),
    (0x0483, 0x0489),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0xFE20, 0xFE2F),
)

# Characters without a shape, besides those of the category Cf, and controls beyond ASCII.
_SHAPELESS = (
    (0x0080, 0x0084),
    (0x0086, 0x009F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFC),
    TAGS,
    *SELECTORS,
)

# Signs of Arabic, Syriac and Kaithi numbers and verses: of the category Cf, yet visible.
_VISIBLE_FORMATS = frozenset(
    map(chr, (*range(0x0600, 0x0606), 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD))
)

# Where marks and characters that fold may be: not among Han, Yi, Hangul syllables, private use and ancient scripts.
_BLOCKS = (
    *((0x80, 0x3400), (0xA4D0, 0xAC00), (0xD800, 0xE000), (0xF900, 0x10000)),
    *((0x10400, 0x104B0), (0x10A00, 0x12000), (0x16A00, 0x17000), (0x1BCA0, 0x1BCB0), (0x1D000, 0x1F200)),
    *((0x1FBF0, 0x1FC00), (0x2F800, 0x2FA20), (0xE0000, 0xE01F0)),
)


def _all_of(ranges: tuple[tuple[int, int], ...]) -> frozenset[str]:
    return frozenset(chr(point) for first, last in ranges for point in range(first, last + 1))


_DROPPED = _all_of(_DECORATIONS) | _all_of(_SHAPELESS)


def _in_both_cases(look_alikes: dict[str, str]) -> dict[str, str]:
    """Add the capitals of small letters, so that a word folds alike in both cases where that is possible."""
    capitals = {small.upper(): plain.upper() for small, plain in look_alikes.items()}
    return {c: plain for c, plain in capitals.items() if len(c) == 1 and not c.isascii()} | look_alikes


_LOOKS_LIKE = _in_both_cases(confusables())

# Digits, spaces, and halves of surrogate pairs, which no encoder takes.
_PLAIN_OF: dict[str, Callable[[str], str]] = {
    "Nd": lambda character: str(unicodedata.decimal(character)),
    "Zs": lambda _: " ",
    "Cs": lambda _: "\ufffd",
}


def _plainer(character: str) -> str:
    """Return what a character becomes in one step."""
    category = unicodedata.category(character)
    if character in _DROPPED or (category == "Cf" and character not in _VISIBLE_FORMATS):
        return ""
    if character in _LOOKS_LIKE:
        return _LOOKS_LIKE[character]
    if category in _PLAIN_OF:
        return _PLAIN_OF[category](character)
    if not unicodedata.decomposition(character):
        return character
    decomposed = unicodedata.normalize("NFKD", character)
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if c not in _DROPPED))


def _plainest(character: str, plain: str) -> str:
    before = character
    while plain != before:
        before, plain = plain, "".join(map(_plainer, plain))
    return plain if len(plain) <= MOST_FOR_ONE else character


def _table() -> dict[str, str]:
    every = (chr(point) for first, last in _BLOCKS for point in range(first, last))
    once = ((c, plain) for c in every if (plain := _plainer(c)) != c)
    return {c: plain for c, plain in ((c, _plainest(c, plain)) for c, plain in once) if plain != c}


def _composing() -> tuple[set[str], set[str]]:
    """Return the first and the second characters of the pairs that NFC composes and folding has kept."""
    # Hangul is composed by rule: the syllables and jamo that take a further jamo.
    firsts = set(map(chr, (*range(0x1100, 0x1113), *range(0xAC00, 0xD7A4, 28))))
    seconds = set(map(chr, (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))))
    for point in (*range(0x80, 0x3400), *range(0x11000, 0x12000)):
        pair = unicodedata.normalize("NFD", chr(point))
        if len(pair) > 1 and unicodedata.normalize("NFC", pair) == chr(point) and _DROPPED.isdisjoint(pair):
            firsts.add(pair[0])
            seconds |= set(pair[1:])
    return firsts, seconds


def _marks() -> set[str]:
    every = (chr(point) for first, last in _BLOCKS for point in range(first, last))
    return {c for c in every if unicodedata.category(c)[0] == "M"} - _DROPPED


def _any_of(characters: AbstractSet[str]) -> str:
    """Return a class of a regular expression, in ranges: one compiles much faster than a list of characters."""
    ranges: list[list[str]] = []
    for c in sorted(characters):
        if ranges and ord(ranges[-1][1]) + 1 == ord(c):
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    return f"[{''.join(f'{first}-{last}' for first, last in ranges)}]"


def _folding_to(wanted: set[str]) -> frozenset[str]:
    return frozenset({*wanted, *(c for c, plain in _FOLDS.items() if not wanted.isdisjoint(plain))})


_FOLDS = _table()
_RESIZED = frozenset(c for c, plain in _FOLDS.items() if len(plain) != 1)
_FIRSTS, _SECONDS = _composing()
_MARKS = _marks()
_COMPOSED = re.compile(f"{_any_of(_FIRSTS)}{_any_of(_SECONDS)}{{1,3}}")
_RARE_MARKS = {c for c in _MARKS if c > "\uffff"}


def _after_letter(marks: AbstractSet[str]) -> re.Pattern[str]:
    # Marks are rarer than letters, so that they are looked for first.
    any_mark = _any_of(marks)
    return re.compile(f"{any_mark}(?<=[A-Za-z].){any_mark}*")


# A class is searched three times as fast without characters beyond U+FFFF.
_MARKED, _RARELY_MARKED = _after_letter(_MARKS - _RARE_MARKS), _after_letter(_MARKS)
_NEIGHBOURS = _folding_to(_SECONDS | _MARKS)
_COMPOSING = _folding_to(_SECONDS)
_RARE = _folding_to(_RARE_MARKS)


def folded(text: str) -> View:
    """Return the folded view of a text. It is the text itself if the text has only ASCII characters."""
    if text.isascii():
        return View("folded", text)
    used = set(text)
    view = View("folded", text) if _FOLDS.keys().isdisjoint(used) else _replaced(text, used)
    return composed(view, used)


def composed(view: View, used: Iterable[str]) -> View:
    """Return a view of which only neighbours have to be folded. `used` are its characters, or those that are new in it."""
    if _NEIGHBOURS.isdisjoint(used):
        return view
    if not _COMPOSING.isdisjoint(used):
        view = edited(view, _compositions(view.text), name=view.name, keeps=view.keeps)
    text = view.text
    marked = (_MARKED if _RARE.isdisjoint(used) else _RARELY_MARKED).finditer(text)
    bare = (Edit(match.start() - 1, match.end(), text[match.start() - 1]) for match in marked)
    return edited(view, bare, name=view.name, keeps=view.keeps)


def _replaced(text: str, used: set[str]) -> View:
    # A table of the text's own characters: `translate` is slow for each character that it does not find.
    plain = text.translate({ord(c): _FOLDS.get(c, c) for c in used})
    if _RESIZED.isdisjoint(used):
        return View("folded", plain, range(len(text)), range(1, len(text) + 1))
    sizes = {c: len(_FOLDS.get(c, c)) for c in used}
    ends = Made(lambda: accumulate(map(sizes.__getitem__, text)))

    def place(index: int) -> int:
        return bisect_right(ends.list(), index)

    return within(View("original", text), "folded", plain, place, place, keeps=True)


def _compositions(text: str) -> Iterator[Edit]:
    for match in _COMPOSED.finditer(text):
        composed = unicodedata.normalize("NFC", match[0])
        if composed != match[0]:
            yield Edit(match.start(), match.end(), composed)
