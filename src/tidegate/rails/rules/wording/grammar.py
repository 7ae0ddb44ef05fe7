"""Sentences as rows of slots, and the patterns in RE2's syntax that find them in folded texts.

A row is written as the names of its slots, such as `we_will adv* give ... refund`. A slot with `*` may be left out or occur
up to three times, one with `?` may be left out. `...` stands for up to six words of any kind within a sentence, `..` for up
to three. What is no name of a slot is itself in RE2's syntax. In a slot a space stands for anything that may be between two
words of a sentence: spaces, line ends, and the marks of Markdown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

BETWEEN: Final = r"""(?:[\s,*_~()"'\[\]-]+)"""
"""What stands between two words of one sentence."""
_WORD: Final = r"[^\s;:!?.]+(?:[.][0-9]+[^\s;:!?.]*)?"
"""Any word, or a number with a decimal point."""
_ANY: Final = {"..": 3, "...": 6}
REST: Final = r"\b(?:[^;:!?.]|[.][0-9])*[.]?"
"""The rest of a sentence, as far as rows go on in it."""

Slots = Mapping[str, str]
"""The words of each slot, separated by `|`."""


def source(row: str, slots: Slots) -> str:
    """Return the pattern of a row of slots. It matches in all cases, and only whole words."""
    parts: list[str] = []
    tokens = row.split()
    for at, token in enumerate(tokens):
        after = "" if at == len(tokens) - 1 else BETWEEN
        if token in _ANY:
            parts.append(f"(?:{_WORD}{BETWEEN}){{0,{_ANY[token]}}}?")
            continue
        name, sign = (token[:-1], token[-1]) if token[-1] in "*?" else (token, "")
        words = f"(?:{spaced(slots.get(name, name.replace('_', ' ')))})"
        if not sign:
            parts.append(words + after)
        elif after:
            parts.append(f"(?:{words}{after}){'{0,3}' if sign == '*' else '?'}")
        else:
            # The last slot brings what stands before it.
            parts[-1] = parts[-1].removesuffix(BETWEEN)
            parts.append(f"(?:{BETWEEN}{words})?")
    return rf"(?i:\b{''.join(parts)}(?:\b|[%$€£]))"


def spaced(words: str) -> str:
    """Return words in RE2's syntax with everything in place of a space that may be there."""
    return words.replace(" ", BETWEEN)


def head(row: str, slots: Slots) -> str:
    """Return the pattern of what every match of a row begins with: the slots up to the first that may not be left out."""
    tokens = row.split()
    needed = next(at for at, token in enumerate(tokens) if token[-1] not in "*?.")
    return source(" ".join(tokens[: needed + 1]), slots)


def any_of(rows: Iterable[str], slots: Slots) -> str:
    """Return the pattern of what any of some rows finds."""
    return "|".join(source(row, slots) for row in rows)
