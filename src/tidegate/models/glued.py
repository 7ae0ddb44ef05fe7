"""Puts blanks back into words that somebody has written as one, such as `ignoreallofthesewords`.

A tokenizer cuts such a word into pieces that mean nothing, so a model does not see what it says. Of all ways to divide it
into words of the tokenizer's vocabulary, the one with the most common words is taken. A vocabulary is in the order of how
common its words are, so by Zipf's law the word of rank n costs the logarithm of n.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import log
from typing import Final

LONG: Final = 20
"""The most letters of a word in plain writing, nearly: longer ones may be several words."""
LONG_MIXED: Final = 28
"""The same for a word with capitals in it, such as an identifier of a program."""
MOST_LETTERS: Final = 1_024
"""How many letters of long words are divided in a text, which takes a few milliseconds."""
LEAST_A_WORD: Final = 3.0
"""The least letters a word in what is taken for language. English has 4.3, a compound of another language 2.5."""
_PIECE: Final = 14
"""The most letters of a word that is looked for."""
_UNKNOWN: Final = 14.0
"""What a letter costs that belongs to no word: more than any word."""
_RUN: Final = re.compile(rf"(?<![A-Za-z])[A-Za-z]{{{LONG + 1},}}")
_WORD: Final = re.compile(r"[a-z]{2,}|[ai]")

Costs = Mapping[str, float]


def costs_of(vocabulary: Mapping[str, int]) -> Costs:
    """Return what each word of a vocabulary costs. A letter by itself is no word, except for `a` and `i`."""
    words = sorted(filter(_WORD.fullmatch, vocabulary), key=vocabulary.__getitem__)
    return {one: log(rank) for rank, one in enumerate(words, 2)}


def divided(text: str, costs: Costs) -> str | None:
    """Return a folded text whose long words are divided, or None if it has none that are made of words."""
    found: list[str] = []
    last = letters = 0
    for match in _RUN.finditer(text):
        run = match[0][: MOST_LETTERS - letters]
        if len(run) <= LONG_MIXED and not (run.isupper() or run[1:].islower()):
            continue
        letters += len(run)
        words = _words(run.lower(), costs)
        if len(words) > 1 and len(run) >= LEAST_A_WORD * len(words):
            found += [text[last : match.start()], " ".join(words), " "]
            last = match.start() + len(run)
        if letters >= MOST_LETTERS:
            break
    return "".join([*found, text[last:]]) if found else None


def _words(run: str, costs: Costs) -> list[str]:
    """Return the words of a run of letters that cost least together."""
    least = [0.0]
    sizes = [0]
    for end in range(1, len(run) + 1):
        best, size = least[-1] + _UNKNOWN, 1
        for length in range(1, min(_PIECE, end) + 1):
            cost = costs.get(run[end - length : end])
            if cost is not None and least[end - length] + cost < best:
                best, size = least[end - length] + cost, length
        least.append(best)
        sizes.append(size)
    words: list[str] = []
    end = len(run)
    while end:
        words.append(run[end - sizes[end] : end])
        end -= sizes[end]
    return words[::-1]
