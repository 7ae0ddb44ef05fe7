"""Attacks from the phrase tables of the rail `injection`, which have words of many languages in the order of a grammar."""

from __future__ import annotations

from random import Random
from typing import Final

from tidegate.rails.rules.phrases.asian import ASIAN
from tidegate.rails.rules.phrases.germanic import GERMANIC
from tidegate.rails.rules.phrases.grammar import HIGH, IGNORE, JAILBREAK, LEAK, Phrase, Phrasebook
from tidegate.rails.rules.phrases.romance import ROMANCE
from tidegate.rails.rules.phrases.slavic import SLAVIC

BOOKS: Final = (*ROMANCE, *GERMANIC, *SLAVIC, *ASIAN)
_UNSPACED: Final = ("zh", "ja")
_SURE: Final = (IGNORE, LEAK, JAILBREAK)


def spoken(book: Phrasebook, rng: Random) -> str:
    """Return one of the phrases of a book that are almost never harmless, with a word of each slot."""
    phrase = rng.choice([one for one in book.phrases if one.score >= HIGH and one.category in _SURE])
    return _spoken(book, phrase, rng)


def _spoken(book: Phrasebook, phrase: Phrase, rng: Random) -> str:
    said: list[str] = []
    for token in phrase.slots.split():
        name = token.rstrip("*?!")
        if token[-1] in "*?" and rng.random() < 0.6:
            continue
        said.append(rng.choice(book.words[name].split(",")) if name in book.words else name.replace("_", " "))
    return ("" if book.language in _UNSPACED else " ").join(said)
