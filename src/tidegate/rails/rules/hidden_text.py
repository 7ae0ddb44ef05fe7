"""The rail `hidden_text`: characters that nobody sees, and letters that are not what they seem.

Writing needs some invisible characters: emoji are joined and styled by them, flags have tag characters, Persian and the
scripts of India joiners, Arabic and Hebrew direction marks, and words soft hyphens. Where they have such a use they are
nothing to report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

from pydantic import Field

from tidegate.config.rails import RailConfig
from tidegate.ports import Scanner, TextViews
from tidegate.rails.finders import Finder, as_it_is
from tidegate.rails.redact import BIDI, INVISIBLE, SELECTORS, TAGS
from tidegate.rails.rules.characters.invisible import NEIGHBOURS, first_suspect, invisible
from tidegate.rails.rules.characters.mixed import LONGEST_WORD, MIXED, last_word, mixed_words
from tidegate.rails.streams.spans import SpanScanner, united
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Signs, Span, Surface, Verdict

Category = Literal[
    "invisible_characters", "tag_characters", "variation_selectors", "bidi_controls", "mixed_scripts"
]
_CATEGORIES: Final[dict[str, Category]] = {
    INVISIBLE: "invisible_characters",
    TAGS: "tag_characters",
    SELECTORS: "variation_selectors",
    BIDI: "bidi_controls",
    MIXED: "mixed_scripts",
}


class HiddenTextConfig(RailConfig):
    """Settings of the rail `hidden_text`."""

    kind: Literal["hidden_text"] = "hidden_text"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    categories: tuple[Category, ...] = Field(
        default=tuple(_CATEGORIES.values()),
        min_length=1,
        description="What is looked for: characters without width, tag characters and variation selectors that can carry a"
        " text of their own, overrides of the writing direction, and words whose letters are of several scripts and look"
        " alike. `redact` removes what is invisible.",
    )


class HiddenText:
    """Finds hidden characters. Satisfies `ports.Rule`, `ports.Signed` and `ports.Scanning`."""

    Config: ClassVar[type[HiddenTextConfig]] = HiddenTextConfig

    def __init__(self, config: HiddenTextConfig) -> None:
        self._kinds = frozenset(kind for kind, name in _CATEGORIES.items() if name in config.categories)
        self._finder = Finder(self._find, _Growing(), LONGEST_WORD + NEIGHBOURS, context_chars=NEIGHBOURS)
        self.about = RailFacts(
            name=config.name or "hidden_text",
            version="1",
            surfaces=frozenset(Surface),
            hold=Hold("span", self._finder.max_chars),
            finds_spans=True,
            usual=frozenset(Surface) - {Surface.OUTPUT},
            usual_ms=0.001,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        del scene
        text = views.original
        if text.isascii():
            return PASSED
        spans = tuple(united(self._find(text, 0)))
        if not spans:
            return PASSED
        category = _CATEGORIES[spans[0].kind]
        return Verdict(passed=False, category=category, score=1.0, reason="hidden characters", spans=spans)

    @property
    def signs(self) -> Signs:
        """Nothing: no plain text hides anything."""
        return Signs()

    def scanner(self) -> Scanner:
        return SpanScanner(self._finder, as_it_is)

    def _find(self, text: str, start: int) -> Sequence[Span]:
        if text.isascii():
            return ()
        every = (*invisible(text, start), *mixed_words(text, start))
        return sorted(span for span in every if span.kind in self._kinds)


class _Growing:
    """What cannot be judged yet: a character whose neighbours have not arrived, and the last word. Satisfies `Growing`."""

    def first(self, text: str, start: int = 0) -> int:
        return min(first_suspect(text, max(start, len(text) - NEIGHBOURS)), last_word(text, start))

    def first_alone(self, text: str, start: int = 0) -> int:
        return last_word(text, start) if text.isascii() else -1
