"""Tells the language of a text by its script, and by which letters follow each other in it.

The profiles of languages are counted in a few sentences of each, so they know common words and endings (after Cavnar and
Trenkle, "N-Gram-Based Text Categorization", 1994). That is enough for a sentence, and not for a word.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Final, NamedTuple

_SCRIPTS: Final = (
    ("latin", r"a-zA-Z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff"),
    ("cyrillic", r"\u0400-\u052f"),
    ("greek", r"\u0370-\u03ff\u1f00-\u1fff"),
    ("hebrew", r"\u0590-\u05ff"),
    ("arabic", r"\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff"),
    ("devanagari", r"\u0900-\u097f"),
    ("thai", r"\u0e00-\u0e7f"),
    ("hangul", r"\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"),
    ("kana", r"\u3040-\u30ff"),
    ("han", r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"),
)
_LANGUAGE_OF: Final = {
    "greek": "el",
    "hebrew": "he",
    "devanagari": "hi",
    "thai": "th",
    "hangul": "ko",
    "kana": "ja",
    "han": "zh",
}
_WRITTEN_IN: Final = {"ru": "cyrillic", "uk": "cyrillic", "bg": "cyrillic", "ar": "arabic", "fa": "arabic"}
_DENSE: Final = frozenset({"han", "kana", "hangul"})
DENSITY: Final = 3
"""For how many letters one character counts where a character is a syllable or a word."""

_WORD: Final = re.compile(
    "|".join(f"(?P<{name}>[{letters}\u0300-\u036f'\u2019]+)" for name, letters in _SCRIPTS)
)
_JAPANESE_WITHOUT_KANA: Final = 12
"""Fewer characters of Chinese in a row may be Japanese as well."""
_ASCII_WORD: Final = re.compile(r"[a-z](?:[a-z']*[a-z])?")
_UNKNOWN: Final = 0.2
"""What is added to each count, for letters that the sentences do not have."""
_SURE: Final = 0.35
"""How much more likely one language has to be than another, as a logarithm for each three letters."""
_SURE_IN_ALL: Final = 18.0
"""How much more likely it has to be for all of the letters: a few letters say little."""
_MOSTLY: Final = 0.5
"""The part of the words that are known to a language with which it needs no closer look."""
_MOST_WORDS: Final = 40
"""How many words of a sentence are looked at."""
_COMMON: Final = 1.5
"""How much more likely a word makes a language whose sentences have it."""


class Word(NamedTuple):
    """A word of a text, in lower case, with its script."""

    text: str
    script: str

    @property
    def weight(self) -> int:
        return len(self.text) * (DENSITY if self.script in _DENSE else 1)


class _Profiles:
    """The languages of one script. What the sentences of a language do not have is equally unlikely in all of it."""

    def __init__(self, script: str, sentences: Mapping[str, str]) -> None:
        self.script = script
        self.languages = tuple(sentences)
        self._rare: list[float] = []
        gains: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        words: defaultdict[str, list[int]] = defaultdict(list)
        for at, text in enumerate(sentences.values()):
            every = [word.text for word in words_of(text)]
            counts = Counter(gram for word in every for gram in _grams(word))
            total = sum(counts.values())
            self._rare.append(math.log(_UNKNOWN / total))
            for gram, count in counts.items():
                gains[gram].append((at, math.log((count + _UNKNOWN) / _UNKNOWN)))
            for word in set(every):
                words[word].append(at)
        self._gains, self._words = dict(gains), dict(words)

    def known(self, words: Iterable[str]) -> Mapping[str, int]:
        """Return how many of the words the sentences of each language have."""
        counts = Counter(at for word in words for at in self._words.get(word, ()))
        return {self.languages[at]: count for at, count in counts.items()}

    def scores(self, words: Iterable[str]) -> Mapping[str, float]:
        """Return how likely the words are in each language, as a logarithm for each three letters."""
        totals, count = [0.0] * len(self.languages), 0
        for word in words:
            grams = _grams(word)
            count += len(grams)
            for gram in grams:
                for at, gain in self._gains.get(gram, ()):
                    totals[at] += gain
            for at in self._words.get(word, ()):
                totals[at] += _COMMON
        return {
            language: rare + total / max(count, 1)
            for language, rare, total in zip(self.languages, self._rare, totals, strict=True)
        }


@lru_cache(maxsize=1)
def languages() -> frozenset[str]:
    """Return the codes of the languages that are known (ISO 639-1)."""
    return frozenset(
        {*_LANGUAGE_OF.values(), *(one for each in _profiles().values() for one in each.languages)}
    )


def words_of(text: str) -> list[Word]:
    """Return the words of a text with their scripts."""
    if text.isascii():
        return [Word(one, "latin") for one in _ASCII_WORD.findall(text.lower())]
    return [
        Word(found[0].lower().strip("'\u2019"), found.lastgroup or "")
        for found in _WORD.finditer(text)
        if found[0].strip("'\u2019")
    ]


def foreign(words: Sequence[Word], allowed: Collection[str]) -> str:
    """Return the language of some words if it is surely none of those that are allowed, else ""."""
    weights: Counter[str] = Counter()
    for word in words:
        weights[word.script] += word.weight
    script = weights.most_common(1)[0][0]
    if script in ("han", "kana"):
        may_be_japanese = weights["kana"] > 0 or weights["han"] < _JAPANESE_WITHOUT_KANA * DENSITY
        if "ja" in allowed and may_be_japanese:
            return ""
        language = "ja" if weights["kana"] else "zh"
        return "" if language in allowed else language
    if script in _LANGUAGE_OF:
        return "" if _LANGUAGE_OF[script] in allowed else _LANGUAGE_OF[script]
    profiles = _profiles()[script]
    own = [word.text for word in words if word.script == script][:_MOST_WORDS]
    known = profiles.known(own)
    if any(known.get(one, 0) >= _MOSTLY * len(own) for one in allowed):
        return ""
    scores = profiles.scores(own)
    likeliest = max(scores, key=lambda one: scores[one])
    best = max((score for language, score in scores.items() if language in allowed), default=-math.inf)
    surer = scores[likeliest] - best
    return likeliest if surer >= _SURE and surer * sum(map(len, own)) >= _SURE_IN_ALL else ""


@lru_cache(maxsize=1)
def _profiles() -> Mapping[str, _Profiles]:
    text = files("tidegate.rails.rules.wording").joinpath("languages.txt").read_text("utf-8")
    every = [line.partition(": ") for line in text.splitlines() if line and not line.startswith("#")]
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for language, _, sentences in every:
        found[_WRITTEN_IN.get(language, "latin")][language] = sentences
    return {script: _Profiles(script, sentences) for script, sentences in found.items()}


def _grams(word: str) -> list[str]:
    padded = f" {word} "
    return [padded[at : at + 3] for at in range(len(padded) - 2)]
