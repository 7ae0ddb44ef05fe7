"""Characters without a shape, and whether their neighbours explain them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final

from tidegate.kernel.text.folding import SELECTORS as SELECTOR_RANGES
from tidegate.kernel.text.folding import TAGS as TAG_RANGE
from tidegate.rails.redact import BIDI, INVISIBLE, SELECTORS, TAGS
from tidegate.types.verdict import Span

NEIGHBOURS: Final = 8
"""How many characters before and after one may explain it."""

_BLACK_FLAG, _END_TAG = "\U0001f3f4", "\U000e007f"
# The flags of England, Scotland, Wales and the like: a black flag, the region in tags, and the end tag.
_FLAG: Final = re.compile(f"{_BLACK_FLAG}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{{3,6}}{_END_TAG}")
# Where words are written without spaces, a zero-width space says where a line may break.
_WITHOUT_SPACES: Final = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\u3000-\u30ff\u3400-\u9fff"
    "\ua980-\ua9ff\uaa60-\uaa7f\uaa80-\uaadf\uf900-\ufaff]"
)
# Letters that are joined to their neighbours, or combined with them, unless a joiner says otherwise.
_JOINED: Final = re.compile(
    "[\u0600-\u08ff\u0900-\u0dff\u0f00-\u0fff\u1000-\u109f\u1780-\u18af\u1b00-\u1b7f\ua840-\ua8ff\ufb50-\ufdff\ufe70-\ufefc]"
)
_JAMO: Final = re.compile("[\u1100-\u11ff\u3130-\u318f]")
_MONGOLIAN: Final = re.compile("[\u1820-\u18aa]")
_HAN: Final = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
# Digits and signs of keycaps, and the few letters that are emoji.
_STYLED: Final = frozenset("0123456789#*\u2139\u203c\u2049\u3030\u303d")

Range = tuple[int, int]
Explained = Callable[[str, int], bool]


def _at(text: str, at: int) -> str:
    return text[at] if 0 <= at < len(text) else ""


def _is_selector(one: str) -> bool:
    return any(first <= ord(one) <= last for first, last in SELECTOR_RANGES)


def _is_picture(one: str) -> bool:
    """Return whether a character is an emoji or what follows one: a skin tone, a selector or a tag."""
    return bool(one) and (unicodedata.category(one) in {"So", "Sk"} or one in {"\ufe0f", _END_TAG})


def _within_word(text: str, at: int) -> bool:
    """A soft hyphen says where a word may be broken: never after one letter or before the last one alone."""
    around = text[max(at - 2, 0) : at], text[at + 1 : at + 3]
    return all(len(part) == 2 and part.isalpha() for part in around)


def _joins(text: str, at: int) -> bool:
    before, after = _at(text, at - 1), _at(text, at + 1)
    if _JOINED.match(before) or _JOINED.match(after):
        return True
    return text[at] == "\u200d" and _is_picture(before) and _is_picture(after)


def _breaks_line(text: str, at: int) -> bool:
    return bool(_WITHOUT_SPACES.match(_at(text, at - 1)) or _WITHOUT_SPACES.match(_at(text, at + 1)))


def _begins(text: str, at: int) -> bool:
    del text
    return at == 0


def _between_words(text: str, at: int) -> bool:
    before, after = _at(text, at - 1), _at(text, at + 1)
    return (
        bool(before and after)
        and not (before.isalpha() and after.isalpha())
        and not _suspects(before + after)
    )


def _beside_jamo(text: str, at: int) -> bool:
    return bool(_JAMO.match(_at(text, at - 1)) or _JAMO.match(_at(text, at + 1)))


def _after_mongolian(text: str, at: int) -> bool:
    return _MONGOLIAN.match(_at(text, at - 1)) is not None


def _after_letter_of_other_script(text: str, at: int) -> bool:
    before = _at(text, at - 1)
    return bool(before) and not before.isascii() and unicodedata.category(before)[0] in "LM"


def _near_right_to_left(text: str, at: int) -> bool:
    around = text[max(at - NEIGHBOURS, 0) : at] + text[at + 1 : at + 1 + NEIGHBOURS]
    return any(
        unicodedata.bidirectional(one) in {"R", "AL"} for one in around if not _INVISIBLE_MARK.match(one)
    )


def _selects(text: str, at: int) -> bool:
    before = _at(text, at - 1)
    if not before or before.isspace() or _is_selector(before):
        return False
    if text[at] in "\ufe0e\ufe0f":
        return before in _STYLED or unicodedata.category(before)[0] == "S"
    if text[at] > "\uffff":
        return _HAN.match(before) is not None
    return not before.isascii()


def _in_flag(text: str, at: int) -> bool:
    return any(
        one.start() < at < one.end() for one in _FLAG.finditer(text, max(at - NEIGHBOURS, 0), at + NEIGHBOURS)
    )


def _never(text: str, at: int) -> bool:
    del text, at
    return False


_INVISIBLE_MARK: Final = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_RULES: Final[tuple[tuple[tuple[Range, ...], str, Explained], ...]] = (
    (((0xAD, 0xAD),), INVISIBLE, _within_word),
    (((0x200C, 0x200D),), INVISIBLE, _joins),
    (((0x200B, 0x200B),), INVISIBLE, _breaks_line),
    (((0xFEFF, 0xFEFF),), INVISIBLE, _begins),
    (((0x2060, 0x2060),), INVISIBLE, _between_words),
    (((0x115F, 0x1160), (0x3164, 0x3164), (0xFFA0, 0xFFA0)), INVISIBLE, _beside_jamo),
    (((0x180B, 0x180F),), INVISIBLE, _after_mongolian),
    (((0x34F, 0x34F),), INVISIBLE, _after_letter_of_other_script),
    (((0x17B4, 0x17B5), (0x2061, 0x2065), (0x206A, 0x206F), (0xFFF0, 0xFFFB)), INVISIBLE, _never),
    (((0x200E, 0x200F), (0x61C, 0x61C)), INVISIBLE, _near_right_to_left),
    # Embeddings and isolates from left to right keep the order of the letters.
    (((0x202B, 0x202B), (0x2067, 0x2067)), BIDI, _near_right_to_left),
    (((0x202D, 0x202E),), BIDI, _never),
    (SELECTOR_RANGES, SELECTORS, _selects),
    ((TAG_RANGE,), TAGS, _in_flag),
)
_RULE_OF: Final = {
    chr(point): (kind, explained)
    for ranges, kind, explained in _RULES
    for first, last in ranges
    for point in range(first, last + 1)
}
_SUSPECT: Final = re.compile(f"[{''.join(_RULE_OF)}]")


def invisible(text: str, start: int = 0) -> Iterator[Span]:
    """Yield the invisible characters from `start` on that have no use where they stand, each on its own."""
    for character in _RULE_OF.keys() & set(text):
        kind, explained = _RULE_OF[character]
        at = text.find(character, start)
        while at >= 0:
            if not explained(text, at):
                yield Span(at, at + 1, kind)
            at = text.find(character, at + 1)


def first_suspect(text: str, start: int = 0) -> int:
    """Return the index of the first invisible character from `start` on; the length of the text if there is none."""
    found = _SUSPECT.search(text, start)
    return found.start() if found else len(text)


def _suspects(text: str) -> bool:
    return _SUSPECT.search(text) is not None
