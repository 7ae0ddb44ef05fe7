"""The texts hidden in characters that nobody sees: tag characters, variation selectors and reversed writing direction."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import compress

from tidegate.kernel.text.folding import SELECTORS, TAGS
from tidegate.kernel.text.mapping import Edit, edited
from tidegate.types.verdict import View

FEWEST_HIDDEN = 4
"""The shortest text that counts as hidden in tag characters or variation selectors, in characters."""

MOST_HIDDEN_VIEWS = 4
"""The most views of hidden text: tags alone, selectors alone, overridden direction, and that with tags in place."""

_LOW, _HIGH = SELECTORS
_TAG = re.compile(f"[{chr(TAGS[0])}-{chr(TAGS[1])}]+")
_SELECTOR = re.compile(f"[{chr(_LOW[0])}-{chr(_LOW[1])}{chr(_HIGH[0])}-{chr(_HIGH[1])}]")
_POINTS = (*range(_LOW[0], _LOW[1] + 1), *range(_HIGH[0], _HIGH[1] + 1))
_SELECTORS = frozenset(map(chr, _POINTS))
# The bytes that selectors stand for, without the controls.
_SHOWN_SELECTORS = {
    chr(point): byte for byte, point in enumerate(_POINTS) if byte >= 0x20 or byte in b"\t\n\r"
}
_SHOWN_TAGS = frozenset(chr(TAGS[0] + byte) for byte in range(0x20, 0x7F))
_UNSHOWN = bytes((*range(0x20), *range(0x7F, 0x100)))
# Right-to-left override up to the end of its effect: pop, or the end of the paragraph.
_OVERRIDE = re.compile("\u202e([^\u202c\u2029\n]+)\u202c?")
# The flags of England, Scotland, Wales and the like: a black flag, the region in tags, and the end tag.
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")


def hidden(text: str) -> Iterator[View]:
    """Yield a view for each way in which a text hides another one. None is yielded for most texts.

    A text with tags and overridden direction is shown with both and with the latter alone: what is hidden may be split over
    both, and tags may be noise.
    """
    if text.isascii():
        return
    original = View("original", text)
    shown = original
    runs = _tags_of(text)
    if runs:
        places = [i for run in runs for i in _places(text, _SHOWN_TAGS, run.start, run.end)]
        alone = "".join(run.text for run in runs)
        yield View("tags", alone, places, [i + 1 for i in places], keeps=False)
        shown = edited(original, runs, name="tags in place")
    yield from _in_selectors(text)
    if "\u202e" in text:
        if runs:
            yield _as_directed(original)
        shown = _as_directed(shown)
    if shown is not original:
        yield shown


def _as_directed(view: View) -> View:
    """Return a view with the parts turned round whose direction is overridden."""
    parts = (Edit(match.start(), match.end(), match[1][::-1]) for match in _OVERRIDE.finditer(view.text))
    return edited(view, parts, name="bidi")


def _tags_of(text: str) -> list[Edit]:
    """Return the runs of tags with their texts, if that is so much that it is hidden text."""
    first = _TAG.search(text)
    if first is None:
        return []
    flags = {match.start() + 1 for match in _FLAG.finditer(text)}
    runs = [
        Edit(match.start(), match.end(), _ascii(match[0]))
        for match in _TAG.finditer(text, first.start())
        if match.start() not in flags
    ]
    return runs if sum(len(run.text) for run in runs) >= FEWEST_HIDDEN else []


def _places(text: str, members: frozenset[str], start: int, end: int) -> Iterator[int]:
    return compress(range(start, end), map(members.__contains__, text[start:end]))


def _ascii(tags: str) -> str:
    # The first byte of each tag in UTF-32 is the character that it stands for.
    return tags.encode("utf-32-le")[::4].translate(None, _UNSHOWN).decode("ascii")


def _in_selectors(text: str) -> Iterator[View]:
    if _SELECTOR.search(text) is None:
        return
    places = list(_places(text, _SELECTORS, 0, len(text)))
    if len(places) < FEWEST_HIDDEN:
        return
    # Emoji and Han characters have selectors of their own; as bytes these are controls.
    shown = [i for i in places if text[i] in _SHOWN_SELECTORS]
    if len(shown) < FEWEST_HIDDEN:
        return
    decoded = bytes(_SHOWN_SELECTORS[text[i]] for i in shown).decode("utf-8", "ignore")
    if decoded.isascii():
        yield View("selectors", decoded, shown, [start + 1 for start in shown], keeps=False)
    elif len(decoded) >= FEWEST_HIDDEN:
        size = len(decoded)
        yield View("selectors", decoded, [places[0]] * size, [places[-1] + 1] * size, keeps=False)
