"""The rail `injection`: phrases by which a text wants to command the model: prompt injections and jailbreaks.

It finds what is written in the usual words, in many languages and however it is hidden. It does not understand texts: an
injection in words of its own is for a model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Final, Literal

from pydantic import Field

from tidegate.config.rails import RailConfig
from tidegate.kernel.text.decoding import SIGNS as ENCODINGS
from tidegate.kernel.text.guessing import LEET, in_reverse_order, swapped
from tidegate.kernel.text.views import letters_of
from tidegate.ports import TextViews
from tidegate.rails.rules.phrases.asian import ASIAN
from tidegate.rails.rules.phrases.english import ENGLISH
from tidegate.rails.rules.phrases.germanic import GERMANIC
from tidegate.rails.rules.phrases.grammar import HIGH, LOW, MEDIUM
from tidegate.rails.rules.phrases.markers import EVERY as MARKERS
from tidegate.rails.rules.phrases.romance import ROMANCE
from tidegate.rails.rules.phrases.search import MarkerSearch, PhraseSearch
from tidegate.rails.rules.phrases.slavic import SLAVIC
from tidegate.rails.rules.reading import spans_in
from tidegate.rails.streams.spans import united
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Signs, Span, Surface, Verdict, View

BOOKS: Final = (ENGLISH, *ROMANCE, *GERMANIC, *SLAVIC, *ASIAN)
# A digit or sign between two letters, as leet has it: common enough, so that more has to follow.
DIGIT_IN_WORD: Final = r"[A-Za-z][013-9@$|+!]+[A-Za-z]"
_DIGIT_IN_WORD: Final = re.compile(
    r"[013-9@$|+!](?<=[A-Za-z].)[013-9@$|+!]*[A-Za-z]"
)  # the same, but faster here
_LEAST: Final = {"high": HIGH, "medium": MEDIUM, "low": LOW}


class InjectionConfig(RailConfig):
    """Settings of the rail `injection`."""

    kind: Literal["injection"] = "injection"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    threshold: Literal["high", "medium", "low"] = Field(
        default="high",
        description="How sure the rail has to be: `high` finds phrases that harmless texts almost never have, `medium` also"
        " those that they seldom have, `low` also those that need a second look.",
    )


@lru_cache(maxsize=len(_LEAST))
def _searches(least: float) -> tuple[PhraseSearch, MarkerSearch]:
    """Return the searches for what is so sure. They take long to make, and never change."""
    return PhraseSearch(BOOKS, least=least), MarkerSearch(MARKERS, least=least)


class Injection:
    """Finds phrases in all views of a text. Satisfies `ports.Rule` and `ports.Signed`."""

    Config: ClassVar[type[InjectionConfig]] = InjectionConfig

    def __init__(self, config: InjectionConfig) -> None:
        least = _LEAST[config.threshold]
        self._phrases, self._markers = _searches(least)
        self.about = RailFacts(
            name=config.name or "injection",
            version="1",
            surfaces=frozenset(Surface),
            usual=frozenset({Surface.INPUT, Surface.RETRIEVAL, Surface.TOOL}),
            hold=Hold("sentence"),
            finds_spans=True,
            usual_ms=0.03,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        del scene
        found = self._found(views)
        if not found:
            return PASSED
        surest = max(found, key=lambda span: span.score)
        return Verdict(
            passed=False,
            category=surest.kind.lower(),
            score=surest.score,
            reason="phrases of a prompt injection",
            spans=tuple(united(found)),
        )

    @property
    def signs(self) -> Signs:
        """What a plain text has that is not passed: a marker, an encoding, a digit in a word, or an anchor of a phrase."""
        return Signs((*self._markers.signs, *ENCODINGS, DIGIT_IN_WORD), self._phrases.anchors)

    def _found(self, views: TextViews) -> Sequence[Span]:
        letters = (views.skeleton, *map(letters_of, views.decoded))
        found = [
            *spans_in((views.folded, *views.decoded), self._markers.find),
            *spans_in(letters, self._phrases.find),
        ]
        return found or spans_in(map(letters_of, self._guesses(views, letters)), self._phrases.find)

    def _guesses(self, views: TextViews, letters: Sequence[View]) -> Sequence[View]:
        """Return the guesses that are worth their time: those in which an anchor stands."""
        anchored = [self._phrases.anchored(view.text) for view in letters]
        text = views.folded.text
        if _DIGIT_IN_WORD.search(text) is not None:
            anchored.append(
                (False, any(self._phrases.anchored(letters_of(View("leet", swapped(text, LEET))).text)))
            )
        if any(turned for _, turned in anchored):
            return views.guessed
        # Words in reverse order are words all the same. Few harmless texts have a phrase then, so its place is found later.
        in_reverse = View("", " ".join(text.split()[::-1]))
        if any(plain for plain, _ in anchored) and self._phrases.find(letters_of(in_reverse).text):
            return (in_reverse_order(views.folded),)
        return ()
