"""The words of the rail `toxicity`, in the forms in which they are written to get past a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.resources import files
from typing import Final, NamedTuple

from tidegate.kernel.matching import lower
from tidegate.kernel.text.folding import folded

CATEGORIES: Final = ("insult", "hate", "threat", "sexual", "profanity")
FEWEST_SPACED: Final = 4
"""The shortest word that is also found with something between its letters: shorter ones are initials too."""
FEWEST_STARRED: Final = 5
"""The shortest word that is also found with stars for all but its first and last letter: `s**t` is also arithmetic."""
MOST_STARRED: Final = 6

_BETWEEN: Final = " .-_*"
_VOWELS: Final = "aeiou"


class Toxic(NamedTuple):
    """A word or phrase, with its category and how often it is meant badly, 0 to 1."""

    word: str
    category: str
    score: float


@lru_cache(maxsize=1)
def known() -> tuple[Toxic, ...]:
    """Return the words of the list in order, as they are in a folded text in lower case."""
    text = files("tidegate.rails.rules.wording").joinpath("toxic.txt").read_text("utf-8")
    every = [one for line in text.splitlines() if line and not line.startswith("#") for one in _read(line)]
    return tuple(sorted(every, key=lambda one: (one.word, -one.score)))


def plain(word: str) -> str:
    """Return a word as it is in a folded text in lower case."""
    return lower(folded(word).text).strip()


def spellings(word: str) -> Iterator[str]:
    """Yield a word with its letters apart, and with stars for letters."""
    yield word
    if not word.isalpha() or len(word) < FEWEST_SPACED:
        return
    for one in _BETWEEN:
        yield one.join(word)
    for at, letter in enumerate(word[1:-1], 1):
        if letter in _VOWELS:
            yield f"{word[:at]}*{word[at + 1 :]}"
            break
    if FEWEST_STARRED <= len(word) <= MOST_STARRED:
        yield f"{word[0]}{'*' * (len(word) - 2)}{word[-1]}"


def _read(line: str) -> Iterator[Toxic]:
    head, _, words = line.partition(":")
    category, score, _language = head.split()
    for entry in words.split(","):
        for word in _forms(entry.strip().split("/")):
            yield Toxic(plain(word), category, float(score))


def _forms(parts: list[str]) -> Iterable[str]:
    word, *endings = parts
    whole = (one if one.startswith(word[:4]) and len(one) > len(word) else word + one for one in endings)
    return (word, *whole)
