"""The rail `language`: texts in a language that is not one of those that are allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, Literal, NamedTuple

from pydantic import Field, field_validator

from tidegate.config.rails import RailConfig
from tidegate.ports import TextViews
from tidegate.rails.rules.wording.tongues import Word, foreign, languages, words_of
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Span, Surface, Verdict

# What is no language: code, tags, tables, lines set in like code, and words with digits or signs in them, such as
# addresses and names of variables.
_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|<[^<>\n]*>", re.DOTALL)
_CODE_LINE: Final = re.compile(r"^(?:(?: {4}|\t)|[^\n]*[={}|])[^\n]*$", re.MULTILINE)
_TOKEN: Final = re.compile(r"\S+")
_ODD: Final = re.compile(r"[0-9@_/\\{}=<>()\[\]]|[a-z][A-Z]|\w\.\w")
_SENTENCE: Final = re.compile(r"[.!?…:;](?=\s)|[。！？\n]")  # noqa: RUF001 - full-width marks end sentences
_NAME: Final = re.compile(r"(?<=[^\W\d_][ ,])[A-Z\u00c0-\u00de][\w'\u2019-]*")
_SCORE: Final = 0.8


class LanguageConfig(RailConfig):
    """Settings of the rail `language`."""

    kind: Literal["language"] = "language"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    allow: tuple[str, ...] = Field(
        min_length=1,
        description="Languages in which texts may be, by their codes of ISO 639-1, such as `en`.",
    )
    min_letters: int = Field(
        default=24,
        ge=8,
        description="Fewest letters by which a language is told; what is shorter passes. Code, addresses and names do not"
        " count. A character of Chinese, Japanese or Korean counts three times.",
    )

    @field_validator("allow")
    @classmethod
    def _known(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        for one in allow:
            if one not in languages():
                raise ValueError(f"has no language '{one}': write one of {', '.join(sorted(languages()))}")
        return allow


class _Part(NamedTuple):
    start: int
    end: int
    words: Sequence[Word]


class Language:
    """Tells the language of each sentence. Satisfies `ports.Rule`.

    It looks at texts as they are: letters that look like others say much about a language.
    """

    Config: ClassVar[type[LanguageConfig]] = LanguageConfig

    def __init__(self, config: LanguageConfig) -> None:
        self._allowed = frozenset(config.allow)
        self._min_letters = config.min_letters
        self.about = RailFacts(
            name=config.name or "language",
            version="1",
            surfaces=frozenset(Surface),
            usual=frozenset({Surface.INPUT, Surface.OUTPUT}),
            hold=Hold("sentence"),
            finds_spans=True,
            usual_ms=0.5,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        del scene
        found: list[Span] = []
        language = ""
        for part in _parts(views.original, self._min_letters):
            if told := foreign(part.words, self._allowed):
                language = language or told
                found.append(Span(part.start, part.end, "LANGUAGE", _SCORE))
        if not found:
            return PASSED
        return Verdict(
            passed=False,
            category="language",
            score=_SCORE,
            reason=f"a language that is not allowed: {language}",
            spans=tuple(found),
        )


def _parts(text: str, fewest: int) -> Iterator[_Part]:
    """Yield the sentences of a text. One with too few letters to tell is joined with those that follow."""
    said = _without_code(text)
    said = said if said.isupper() else _blanked(_NAME, said)
    begin = after = weight = 0
    words: list[Word] = []
    for end in (*(found.end() for found in _SENTENCE.finditer(said)), len(text)):
        new = words_of(said[after:end])
        after = end
        words += new
        weight += sum(word.weight for word in new)
        if weight >= fewest:
            part = text[begin:end]
            yield _Part(end - len(part.lstrip()), begin + len(part.rstrip()), words)
            begin, words, weight = end, [], 0


def _without_code(text: str) -> str:
    said = _blanked(_CODE, text) if "`" in text or "<" in text else text
    said = _blanked(_CODE_LINE, said)
    if _ODD.search(said) is None:
        return said
    return _TOKEN.sub(lambda found: " " * len(found[0]) if _ODD.search(found[0]) else found[0], said)


def _blanked(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda found: " " * len(found[0]), text)
