"""Phrases as rows of slots, each of which has many words, and the patterns that find them among the letters of a text.

A phrase is written as the names of its slots, such as `ignore! fill* earlier orders`. A slot with `*` may be left out or
repeated, one with `?` may be left out, and one of the others must occur once. What is no name of a slot stands for itself.
The slot or word with `!` is rare in other texts: it is searched first, and the phrase only where it occurs. Short words
of it are searched with the first letters of what may follow them, since short words are parts of many others.

Phrases are searched among letters alone (see `views.letters_of`), so spaces, line ends, digits and punctuation in between
never matter. Each word of a match is known: no gap takes just any word, which is why letters alone are precise enough.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Final, NamedTuple

from tidegate.kernel.text.views import Views, letters_of_ascii

HIGH: Final = 0.9
MEDIUM: Final = 0.6
LOW: Final = 0.3
"""Scores: almost never in a harmless text; seldom; often enough."""

FEWEST_TURNED: Final = 5
"""The shortest anchor that is also searched in rot13 and in reverse, in bytes: shorter ones occur everywhere."""

FEWEST_ALONE: Final = 6
"""The shortest anchor that is searched without letters of the word beside it, in bytes."""

BESIDE: Final = 3
"""How many letters of the word beside it are searched with an anchor at least."""

IGNORE: Final = "ignore_instructions"
LEAK: Final = "system_prompt_leak"
JAILBREAK: Final = "role_play_jailbreak"
MARKERS: Final = "fake_role_markers"
EXFILTRATION: Final = "exfiltration"
HIDDEN_ORDERS: Final = "hidden_orders"


class Phrase(NamedTuple):
    """A phrase of one language, with what it means and how sure that is."""

    category: str
    score: float
    slots: str


class Phrasebook(NamedTuple):
    """The phrases of one language. `words` has the words of each slot, separated by commas."""

    language: str
    words: Mapping[str, str]
    phrases: tuple[Phrase, ...]


class Sought(NamedTuple):
    """A phrase that is ready to be searched.

    `source` is its pattern in RE2's syntax. `anchors` are letters some of which every match has: the words of the slot with
    `!`, short ones with a part of the word beside them. `turned` is what is there instead of such a word in a text that is
    to be read in rot13, or whose letters or words are in reverse order.
    """

    phrase: Phrase
    source: str
    anchors: frozenset[str]
    turned: frozenset[str]


def letters(text: str) -> str:
    """Return the letters of a text in the form in which phrases are searched."""
    return letters_of_ascii(text.encode()) if text.isascii() else Views(text).skeleton.text


def sought(book: Phrasebook) -> list[Sought]:
    """Return the phrases of a book, ready to be searched. Raises ValueError for a phrase without an anchor."""
    slots = {token.rstrip("*?!") for phrase in book.phrases for token in phrase.slots.split()}
    forms = {name: _longest_first(map(letters, _words(book, name))) for name in slots}

    @cache  # many phrases have the same anchor
    def turned(name: str) -> frozenset[str]:
        return frozenset(one for word in _words(book, name) for one in _turned(word))

    return [_sought(book, phrase, forms, turned) for phrase in book.phrases]


def _sought(
    book: Phrasebook,
    phrase: Phrase,
    forms: Mapping[str, tuple[str, ...]],
    turned: Callable[[str], frozenset[str]],
) -> Sought:
    parts: list[str] = []
    tokens = phrase.slots.split()
    place = next((index for index, token in enumerate(tokens) if token.endswith("!")), None)
    if place is None:
        raise ValueError(f"the phrase '{phrase.slots}' in {book.language} has no slot with `!`")
    for token in tokens:
        sign = token[-1] if token[-1] in "*?" else ""
        parts.append(f"(?:{'|'.join(forms[_slot(token)])}){sign}")
    anchor = _slot(tokens[place])
    return Sought(
        phrase,
        "".join(parts),
        _anchors(forms[anchor], _next(tokens[place + 1 :], forms), _next(tokens[:place][::-1], forms)),
        turned(anchor),
    )


def _slot(token: str) -> str:
    return token.rstrip("*?!")


def _next(tokens: Iterable[str], forms: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """Return the words one of which comes first in any match of some slots, or none if a match may have no word at all."""
    found: set[str] = set()
    for token in tokens:
        found.update(forms[_slot(token)])
        if token[-1] not in "*?":
            return frozenset(found)
    return frozenset()


def _anchors(words: Iterable[str], after: Collection[str], before: Collection[str]) -> frozenset[str]:
    """Return what is searched for the words of an anchor, with the words that may follow or precede it."""
    found: set[str] = set()
    for word in words:
        more = max(BESIDE, FEWEST_ALONE - len(word.encode()))
        if len(word.encode()) >= FEWEST_ALONE or not (after or before):
            found.add(word)
        elif after:
            found.update(word + beside[:more] for beside in after)
            found.update(beside + word for beside in after)  # the order of words may be reversed
        else:
            found.update(beside[-more:] + word for beside in before)
            found.update(word + beside for beside in before)
    return frozenset(found)


def _words(book: Phrasebook, name: str) -> list[str]:
    return book.words[name].split(",") if name in book.words else [name.replace("_", " ")]


def _turned(anchor: str) -> Iterator[str]:
    words = [letters(word) for word in anchor.split()]
    whole = "".join(words)
    if len(whole.encode()) < FEWEST_TURNED:
        return
    yield whole[::-1]
    if whole.isascii():
        yield codecs.encode(whole, "rot13")
    if len(words) > 1:
        yield "".join(reversed(words))
        yield "".join(word[::-1] for word in words)


def _longest_first(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({word for word in words if word}, key=lambda word: (-len(word), word)))
