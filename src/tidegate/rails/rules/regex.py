"""The rail `regex`: patterns of the operator. They run on RE2, so none can hang."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from tidegate.config.rails import RailConfig
from tidegate.config.settings import Name
from tidegate.kernel.matching import BadPattern, Pattern
from tidegate.kernel.text.folding import folded
from tidegate.ports import Scanner, TextViews
from tidegate.rails.finders import MAX_MATCH_CHARS, Finder, as_it_is, by_patterns
from tidegate.rails.rules.reading import spans_in
from tidegate.rails.streams.spans import SpanScanner, united
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Span, Surface, Verdict, View


class RegexConfig(RailConfig):
    """Settings of the rail `regex`."""

    kind: Literal["regex"] = "regex"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    patterns: Mapping[Name, str] = Field(
        min_length=1,
        description="Patterns by name, in the syntax of RE2 (https://github.com/google/re2/wiki/Syntax), which has neither"
        " look-around nor back-references. The name becomes the category, and the mask where texts are redacted.",
    )
    ignore_case: bool = Field(default=False, description="Whether upper and lower case are the same.")
    folded: bool = Field(
        default=True,
        description="Whether invisible characters are left out and look-alike and accented letters are plain ones when the"
        " text is searched, and whether decoded texts, such as base64, are searched too. `false` searches the text as it"
        " is, for patterns with letters that folding changes.",
    )
    max_match_chars: int = Field(
        default=MAX_MATCH_CHARS,
        ge=1,
        le=4096,
        description="Longest match in a stream, in characters, and so the most that is held back. A longer one blocks the"
        " stream; with `hold: whole` there is no limit.",
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for name, source in self.patterns.items():
            changed = next((one for one in source if folded(one).text != one), "")
            if self.folded and changed:
                raise ValueError(
                    f"patterns.{name} has {changed!r}, which is {folded(changed).text!r} in a folded text: write that, or"
                    " set `folded: false`"
                )
        try:
            _finder(self)
        except BadPattern as error:
            raise ValueError(f"patterns: {error}") from error
        return self


class Regex:
    """Finds patterns. Satisfies `ports.Rule` and `ports.Scanning`."""

    Config: ClassVar[type[RegexConfig]] = RegexConfig

    def __init__(self, config: RegexConfig) -> None:
        self._finder = _finder(config)
        self._folded = config.folded
        self.about = RailFacts(
            name=config.name or "regex",
            version="1",
            surfaces=frozenset(Surface),
            hold=Hold("span", self._finder.max_chars),
            finds_spans=True,
            usual_ms=0.008,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        del scene
        found: list[Span] = list(self._found(views))
        if not found:
            return PASSED
        spans = tuple(united(found))
        return Verdict(
            passed=False, category=spans[0].kind, score=1.0, reason="a pattern matches", spans=spans
        )

    def _found(self, views: TextViews) -> list[Span]:
        if not self._folded:
            return list(spans_in((View("original", views.original),), self._finder.find))
        return list(spans_in((views.folded, *views.decoded), self._finder.find))

    def scanner(self) -> Scanner:
        return SpanScanner(self._finder, folded if self._folded else as_it_is)


def _finder(config: RegexConfig) -> Finder:
    patterns = (Pattern(name, source, config.ignore_case) for name, source in config.patterns.items())
    return by_patterns(patterns, max_chars=config.max_match_chars)
