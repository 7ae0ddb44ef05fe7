"""What a recognizer is, and the parts that judgements are made of.

A recognizer has a pattern, which is cheap and finds too much, and a judge, which looks at each match: it checks sums,
narrows the match to what is meant, and says how sure it is. Scores are on Presidio's scale: 1.0 for a valid checksum of
a rare form, below 0.5 for a form that many other numbers have. Words before the match, such as "card", raise the score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Final, NamedTuple

import msgspec

from tidegate.kernel.linear import Expression, compiled, quoted

CONTEXT_CHARS: Final = 48
"""How much text before a match is searched for supporting words."""
CONTEXT_GAIN: Final = 0.35
"""How much a supporting word raises the score, as in Presidio."""
EDGE_CHARS: Final = 2
"""How many characters next to a match a judge may look at."""


class Found(NamedTuple):
    """What a judge found, from `start` up to, but not including, `end`, and how sure it is."""

    start: int
    end: int
    score: float


Judge = Callable[[str, int, int], Found | None]
"""Judges a match, given the text, the start and the end. It may look at EDGE_CHARS characters on both sides."""


class Recognizer(msgspec.Struct, frozen=True):
    """One form of one entity.

    `source` is an RE2 pattern. A match longer than `max_chars` is none. `words` raise the score if one of them stands
    before the match: words of up to three letters as a whole, longer ones as the beginning of a word. `most` is the highest
    score that the judge gives; it is not asked where that cannot be enough. `usual` says whether the recognizer is used if
    nobody chooses entities.
    """

    entity: str
    source: str
    judge: Judge
    max_chars: int
    words: tuple[str, ...] = ()
    most: float = 1.0
    ignore_case: bool = False
    usual: bool = True


def scored(score: float) -> Judge:
    """Return a judge that takes every match that is not part of a longer word or number."""

    def judge(text: str, start: int, end: int) -> Found | None:
        return Found(start, end, score) if alone(text, start, end) else None

    return judge


def summed(valid: Callable[[str], bool], score: float, *, otherwise: float = 0.0) -> Judge:
    """Return a judge that takes what is `valid`, and the rest with the score `otherwise`, which 0 excludes."""

    def judge(text: str, start: int, end: int) -> Found | None:
        if not alone(text, start, end):
            return None
        sure = score if valid(text[start:end]) else otherwise
        return Found(start, end, sure) if sure else None

    return judge


def alone(text: str, start: int, end: int) -> bool:
    """Return whether a match is not a part of a longer word, number or identifier."""
    return _starts(text, start) and _ends(text, end)


def _starts(text: str, start: int) -> bool:
    before = text[start - 1] if start else " "
    if _joins(before):
        return False
    return not (before in _LINKS and start > 1 and _joins(text[start - 2]))


def _ends(text: str, end: int) -> bool:
    after = text[end : end + 1] or " "
    if _joins(after):
        return False
    return not (after in _LINKS and _joins(text[end + 1 : end + 2] or " "))


def _joins(one: str) -> bool:
    return one.isascii() and (one.isalnum() or one == "_")


_LINKS: Final = "-.:/,+%@"


def stdnum(name: str) -> Callable[[str], bool]:
    """Return the check of one of python-stdnum's formats, such as `gb.nhs`."""
    module: Any = import_module(f"stdnum.{name}")
    return module.is_valid


def context(words: Iterable[str]) -> Expression | None:
    """Return an expression that finds any of the words."""
    # The scripts of East Asia put no space between words.
    forms = [
        (rf"\b{quoted(word)}" + (r"\b" if len(word) <= 3 else "")) if word.isascii() else quoted(word)
        for word in words
    ]
    return compiled(f"(?i:{'|'.join(forms)})") if forms else None
