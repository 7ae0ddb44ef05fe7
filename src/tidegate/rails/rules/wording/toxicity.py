"""The rail `toxicity`: insults, hate, threats, sexual words and profanity, by a list of words in several languages.

It knows words and not what is meant: an insult without a rude word is for a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Final, Literal

from pydantic import Field

from tidegate.config.rails import RailConfig
from tidegate.kernel.linear import quoted
from tidegate.kernel.matching import Phrases, WordList, lower
from tidegate.kernel.text.decoding import SIGNS as ENCODINGS
from tidegate.kernel.text.folding import folded
from tidegate.kernel.text.guessing import LEET, swapped
from tidegate.ports import Scanner, TextViews
from tidegate.rails.finders import Finder
from tidegate.rails.rules.reading import spans_in
from tidegate.rails.rules.wording.toxic import CATEGORIES, Toxic, known, plain, spellings
from tidegate.rails.streams.spans import SpanScanner, spans_of, united
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Signs, Span, Surface, Verdict

Category = Literal["insult", "hate", "threat", "sexual", "profanity"]


class ToxicityConfig(RailConfig):
    """Settings of the rail `toxicity`."""

    kind: Literal["toxicity"] = "toxicity"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    categories: tuple[Category, ...] = Field(
        default=CATEGORIES, min_length=1, description="What is looked for. The category becomes the mask."
    )
    threshold: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Lowest score that counts. Words that are nearly always meant badly score 0.7 and more, milder ones"
        " 0.5, and those that are often harmless 0.4.",
    )
    allow: tuple[str, ...] = Field(
        default=(),
        description="Words that are never reported, and phrases in which they are not, such as `bloody hell`.",
    )


class Toxicity:
    """Finds words of a list. Satisfies `ports.Rule`, `ports.Signed` and `ports.Scanning`.

    A whole text is also searched in its decoded views.
    """

    Config: ClassVar[type[ToxicityConfig]] = ToxicityConfig

    def __init__(self, config: ToxicityConfig) -> None:
        sought = [
            one for one in known() if one.category in config.categories and one.score >= config.threshold
        ]
        search = ToxicSearch(sought, filter(None, map(plain, config.allow)))
        self._finder = Finder(search.find, search, search.max_chars + 1, context_chars=search.context_chars)
        self._signs = (*ENCODINGS, *search.signs)
        self.about = RailFacts(
            name=config.name or "toxicity",
            version="1",
            surfaces=frozenset(Surface),
            usual=frozenset({Surface.INPUT, Surface.OUTPUT}),
            hold=Hold("span", self._finder.max_chars),
            finds_spans=True,
            usual_ms=0.02,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        del scene
        found = [*spans_of(self._finder, views), *spans_in(views.decoded, self._finder.find)]
        if not found:
            return PASSED
        worst = max(found, key=lambda span: span.score)
        return Verdict(
            passed=False,
            category=worst.kind.lower(),
            score=worst.score,
            reason="toxic words",
            spans=tuple(united(found)),
        )

    @property
    def signs(self) -> Signs:
        """What a plain text has that is not passed: an encoding, or a word of the list, with digits for letters or not."""
        return Signs(self._signs)

    def scanner(self) -> Scanner:
        return SpanScanner(self._finder, folded)


class ToxicSearch:
    """Searches folded texts for words as they are, and with digits and signs for letters. Satisfies `Growing`."""

    def __init__(self, sought: Iterable[Toxic], allowed: Iterable[str]) -> None:
        self._known: Mapping[str, Toxic] = {}
        for one in sought:
            for word in spellings(one.word):
                if word not in self._known or self._known[word].score < one.score:
                    self._known[word] = one
        self._words = WordList("", self._known)
        around = tuple(_phrases(allowed))
        self._allowed = Phrases(around)
        # A word has to wait for the rest of a phrase in which it is allowed.
        self._waiting = WordList("", (*self._known, *around))
        self.max_chars = self._waiting.max_chars
        self.context_chars = max(map(len, around), default=0) + 1

    @property
    def signs(self) -> Iterator[str]:
        """Patterns some of which every ASCII text has in which anything is found."""
        for word in self._words.words:
            if word.isascii():
                yield "(?i:" + "".join(_STAND_FOR.get(one) or quoted(one) for one in word) + ")"

    def find(self, text: str, start: int) -> list[Span]:
        found = self._spans(text, text, start)
        leet = swapped(text, LEET)
        return found if leet == text else [*found, *self._spans(text, leet, start)]

    def first(self, text: str, start: int = 0) -> int:
        leet = swapped(text, LEET)
        first = self._waiting.first(text, start)
        return first if leet == text else min(first, self._waiting.first(leet, start))

    def first_alone(self, text: str, start: int = 0) -> int:
        leet = swapped(text, LEET)
        first = self._waiting.first_alone(text, start)
        return first if leet == text else min(first, self._waiting.first_alone(leet, start))

    def _spans(self, text: str, read: str, start: int) -> list[Span]:
        words = self._words.find(read, start)
        if not words:
            return []
        allowed = self._allowed.reach(read)
        found: list[Span] = []
        for _, first, end in words:
            one = self._known[lower(read[first:end])]
            if _is_word(text[first:end]) and allowed[first] < end:
                found.append(Span(first, end, one.category.upper(), one.score))
        return found


def _phrases(allowed: Iterable[str]) -> Iterator[str]:
    for one in allowed:
        yield from spellings(one)


def _is_word(text: str) -> bool:
    """Return whether no more than half of a text are digits: `a55` and `5h17` are roads and times."""
    return text.isalpha() or 2 * sum(map(str.isdigit, text)) <= len(text)


def _written(letter: str) -> str:
    signs = "".join(chr(one) for one in range(128) if LEET[one] == ord(letter) and one != ord(letter))
    return f"[{letter}{quoted(signs)}]" if signs else letter


_STAND_FOR: Final = {letter: _written(letter) for letter in "abcdefghijklmnopqrstuvwxyz"}
