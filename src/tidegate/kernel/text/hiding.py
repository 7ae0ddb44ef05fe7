"""The texts hidden in characters that nobody sees: tag characters, variation selectors and reversed writing direction."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tidegate.kernel.text.folding import SELECTORS, TAGS
from tidegate.kernel.text.mapping import Edit, edited
from tidegate.types.verdict import View

FEWEST_HIDDEN = 4
"""The shortest text that counts as hidden in tag characters or variation selectors, in characters."""

MOST_HIDDEN_VIEWS = 3
"""The most views of hidden text: tags alone, selectors alone, and all as it is shown, with tags in place."""

_LOW, _HIGH = SELECTORS
_TAG = re.compile(f"[{chr(TAGS[0])}-{chr(TAGS[1])}]+")
_SELECTOR = re.compile(f"[{chr(_LOW[0])}-{chr(_LOW[1])}{chr(_HIGH[0])}-{chr(_HIGH[1])}]")
# Right-to-left override up to the end of its effect: pop, or the end of the paragraph.
_OVERRIDE = re.compile("\u202e([^\u202c\u2029\n]+)\u202c?")
# The flags of England, Scotland, Wales and the like: a black flag, the region in tags, and the end tag.
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")


def hidden(text: str) -> Iterator[View]:
    """Yield a view for each way in which a text hides another one. None is yielded for most texts."""
    if text.isascii():
        return
    original = View("original", text)
    shown = original
    runs = _tags_of(text)
    if runs:
        places = [i for run in runs for i in range(run.start, run.end) if _ascii(text[i])]
        alone = "".join(run.text for run in runs)
        yield View("tags", alone, places, [i + 1 for i in places], keeps=False)
        shown = edited(original, runs, name="tags in place")
    yield from _in_selectors(text)
    if "\u202e" in text:
        overrides = (
            Edit(match.start(), match.end(), match[1][::-1]) for match in _OVERRIDE.finditer(shown.text)
        )
        shown = edited(shown, overrides, name="bidi")
    if shown is not original:
        yield shown


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


def _ascii(tags: str) -> str:
    points = (ord(c) - TAGS[0] for c in tags)
    return "".join(chr(point) for point in points if 0x20 <= point < 0x7F)


def _in_selectors(text: str) -> Iterator[View]:
    places = [match.start() for match in _SELECTOR.finditer(text)]
    if len(places) < FEWEST_HIDDEN:
        return
    data = bytes(_byte(ord(text[i])) for i in places)
    # Emoji and Han characters have selectors of their own; as bytes these are controls.
    shown = [i for i, byte in enumerate(data) if byte >= 0x20 or byte in b"\t\n\r"]
    if len(shown) < FEWEST_HIDDEN:
        return
    decoded = bytes(data[i] for i in shown).decode("utf-8", "ignore")
    if decoded.isascii():
        starts = [places[i] for i in shown]
        yield View("selectors", decoded, starts, [start + 1 for start in starts], keeps=False)
    elif len(decoded) >= FEWEST_HIDDEN:
        size = len(decoded)
        yield View("selectors", decoded, [places[0]] * size, [places[-1] + 1] * size, keeps=False)


def _byte(point: int) -> int:
    return point - _LOW[0] if point <= _LOW[1] else point - _HIGH[0] + 16
