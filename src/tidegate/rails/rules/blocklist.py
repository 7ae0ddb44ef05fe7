"""The rail `blocklist`: words and phrases that must not occur."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from tidegate.config.files import check_file
from tidegate.config.rails import RailConfig
from tidegate.kernel.matching import WordList
from tidegate.kernel.text.folding import folded
from tidegate.kernel.text.views import Views
from tidegate.ports import Scanner, TextViews
from tidegate.rails.finders import Finder, by_words
from tidegate.rails.rules.reading import spans_in
from tidegate.rails.streams.spans import SpanScanner, spans_of, united
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Surface, Verdict

KIND: Final = "BLOCKED_WORD"
FEWEST_LETTERS: Final = 6
"""The shortest word that is searched among letters alone: shorter ones occur across the words of any text."""


class BlocklistConfig(RailConfig):
    """Settings of the rail `blocklist`."""

    kind: Literal["blocklist"] = "blocklist"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    words: tuple[str, ...] = Field(default=(), description="Words and phrases that must not occur.")
    words_path: Path | None = Field(
        default=None, description="File with further words and phrases in UTF-8, one a line."
    )
    whole_words: bool = Field(
        default=True,
        description="Whether a word counts only where no letter or digit stands next to it. `false` also finds it within"
        " longer words, and suits languages that are written without spaces.",
    )
    ignore_case: bool = Field(default=True, description="Whether upper and lower case are the same.")
    skeleton: bool = Field(
        default=False,
        description=f"Whether words of {FEWEST_LETTERS} letters or more are also searched among the letters of the text"
        " alone, which finds `f-o r*bidden` for `forbidden`. Case never counts there, nor do word boundaries. A stream is"
        " held back as a whole then.",
    )

    @field_validator("words")
    @classmethod
    def _words_have_characters(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not folded(word).text.strip():
                raise ValueError(f"has the word {word!r}, which has no visible character: leave it out")
        return words

    @field_validator("words_path")
    @classmethod
    def _file_there(cls, path: Path | None) -> Path | None:
        return path and check_file(path)

    @model_validator(mode="after")
    def _some_words(self) -> Self:
        if not self.words and self.words_path is None:
            raise ValueError("has no words: set `words` or `words_path`")
        return self


class Blocklist:
    """Finds words. Satisfies `ports.Rule` and `ports.Scanning`.

    A whole text is also searched in its decoded views. Raises ValueError if the file of words cannot be used.
    """

    Config: ClassVar[type[BlocklistConfig]] = BlocklistConfig

    def __init__(self, config: BlocklistConfig) -> None:
        words = [folded(word).text.strip() for word in (*config.words, *_lines(config.words_path))]
        self._finder = by_words(
            WordList(KIND, words, whole_words=config.whole_words, ignore_case=config.ignore_case)
        )
        self._letters: Finder | None = None
        if config.skeleton:
            letters = [word for word in map(_letters, words) if len(word) >= FEWEST_LETTERS]
            self._letters = by_words(WordList(KIND, letters, whole_words=False))
        self.about = RailFacts(
            name=config.name or "blocklist",
            version="1",
            surfaces=frozenset(Surface),
            hold=Hold("whole") if config.skeleton else Hold("span", self._finder.max_chars),
            finds_spans=True,
            usual_ms=0.01,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        del scene
        found = [*spans_of(self._finder, views), *spans_in(views.decoded, self._finder.find)]
        if self._letters is not None:
            found += spans_in((views.skeleton,), self._letters.find)
        if not found:
            return PASSED
        return Verdict(
            passed=False,
            category="blocked_word",
            score=1.0,
            reason="blocked words",
            spans=tuple(united(found)),
        )

    def scanner(self) -> Scanner:
        return SpanScanner(self._finder, folded)


def _letters(word: str) -> str:
    return Views(word).skeleton.text


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"words_path: {path} cannot be read: {error}; it has to be a text file in UTF-8"
        ) from error
    words = [line for line in lines if folded(line).text.strip()]
    if not words:
        raise ValueError(f"words_path: {path} has no words: write one a line")
    return words
