"""Finds the known word that a misspelt word most likely stands for. The cost is bounded for every input.

Two words are close if they differ only in case and punctuation, if they are equal after the last slash (`openai/gpt-4o`),
if they differ by one or two typing errors, or if one is the beginning of the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

# Bounds of the work, since it runs on the event loop: the length of a word, the number of known words that are examined,
# and the number of those that are compared letter by letter.
LONGEST = 64
MOST_KNOWN = 1000
MOST_COMPARED = 24
# A common beginning shorter than this does not count.
_BEGINNING = 4


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the closest of the known words, or None if none is close. At most a thousand known words are examined."""
    if not 1 < len(word) <= LONGEST:
        return None
    folded, last = _folded(word), word.rpartition("/")[2]
    slips = 1 if len(word) < 6 else 2
    best, fewest, compared, beginning = None, slips + 1, 0, ""
    for one in islice(known, MOST_KNOWN):
        if abs(len(one) - len(word)) <= slips:
            if compared < MOST_COMPARED and (one[:1] == word[:1] or one[-1:] == word[-1:]):
                compared += 1
                if (distance := _slips(word, one, fewest - 1)) < fewest:
                    best, fewest = one, distance
        elif last and one.rpartition("/")[2] == last:
            return one
        elif _begins(word, one) and (
            not beginning or abs(len(one) - len(word)) < abs(len(beginning) - len(word))
        ):
            beginning = one
        if abs(len(one) - len(word)) <= _BEGINNING and _folded(one) == folded:
            return one
    return best or beginning or None


def _folded(word: str) -> str:
    return "".join(filter(str.isalnum, word)).casefold()


def _begins(word: str, one: str) -> bool:
    shorter, longer = sorted((word, one), key=len)
    return len(shorter) >= _BEGINNING and longer.startswith(shorter)


def _slips(word: str, one: str, most: int) -> int:
    """Count the typing errors between two words, at most `most` + 1: letters left out, added, changed, or swapped.

    This is the restricted Damerau-Levenshtein distance. Only the cells within `most` of the table's diagonal are computed
    (Ukkonen's cut-off).
    """
    before: dict[int, int] = {}
    above = {at: at for at in range(min(most, len(one)) + 1)}
    for i, letter in enumerate(word, 1):
        row: dict[int, int] = {0: i} if i <= most else {}
        for j in range(max(1, i - most), min(len(one), i + most) + 1):
            far = most + 1
            cost = min(
                above.get(j - 1, far) + (letter != one[j - 1]), above.get(j, far) + 1, row.get(j - 1, far) + 1
            )
            if i > 1 and j > 1 and letter == one[j - 2] and word[i - 2] == one[j - 1]:
                cost = min(cost, before.get(j - 2, far) + 1)
            row[j] = cost
        if min(row.values(), default=most + 1) > most:
            return most + 1
        before, above = above, row
    return min(above.get(len(one), most + 1), most + 1)
