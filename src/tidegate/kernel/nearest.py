"""The known word that somebody most likely meant: for messages, and cheap whatever is asked for.

Close is: the same but for case and punctuation, the same after the last slash (`openai/gpt-4o`), one or two slips of the
finger, or the beginning of one another.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

# Bounds of the work, which is done on the loop: a word, the words looked at, and those compared letter by letter.
LONGEST = 64
MOST_KNOWN = 1000
MOST_COMPARED = 24
# Shorter beginnings say too little.
_BEGINNING = 4


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The closest of the known words; None where none is close. At most a thousand of them are looked at."""
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
    """Letters left out, added, changed or swapped with their neighbour; `most` + 1 for any number above `most`.

    Only the band of the table is filled that so few slips can reach (Ukkonen's cut-off).
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
