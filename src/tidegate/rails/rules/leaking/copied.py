"""The rail `copied`: passages of protected documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from tidegate.config.files import check_file
from tidegate.config.rails import RailConfig
from tidegate.config.settings import Name
from tidegate.ports import Scanner, TextViews
from tidegate.rails.rules.leaking.corpus import MOST_DOCUMENTS, MOST_WORDS, Corpus
from tidegate.rails.rules.leaking.running import RunScanner, most_held
from tidegate.rails.rules.leaking.words import GRAM, grams_of, long_runs, texts_of, words_of
from tidegate.rails.rules.reading import spans_in
from tidegate.rails.streams.spans import united
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Span, Surface, Verdict


class CopiedConfig(RailConfig):
    """Settings of the rail `copied`."""

    kind: Literal["copied"] = "copied"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    documents: Mapping[Name, Path] = Field(
        min_length=1,
        description="The protected texts by name: files in UTF-8, which are read when the configuration is. The name"
        f" becomes the category, and the mask where texts are redacted. They may have {MOST_WORDS:,} words together.",
    )
    least_words: int = Field(
        default=30,
        ge=2 * GRAM,
        le=50,
        description="How many words in a row a text has to have from a document. Where a character is a word, as in"
        " Chinese, it takes twice as many.",
    )

    @field_validator("documents")
    @classmethod
    def _files_there(cls, documents: Mapping[str, Path]) -> Mapping[str, Path]:
        if len(documents) > MOST_DOCUMENTS:
            raise ValueError(f"has {len(documents)} documents: name at most {MOST_DOCUMENTS}")
        for name, path in documents.items():
            try:
                check_file(path)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return documents


class Copied:
    """Finds passages of documents. Satisfies `ports.Rule` and `ports.Scanning`.

    Raises ValueError if a document cannot be used.
    """

    Config: ClassVar[type[CopiedConfig]] = CopiedConfig

    def __init__(self, config: CopiedConfig) -> None:
        self._corpus = Corpus(config.documents, least_words=config.least_words)
        self._least_words = config.least_words
        self.about = RailFacts(
            name=config.name or "copied",
            version="1",
            surfaces=frozenset(Surface),
            usual=frozenset({Surface.OUTPUT}),
            hold=Hold("span", most_held(config.least_words)),
            finds_spans=True,
            usual_ms=0.1,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        del scene
        spans = tuple(united(spans_in((views.folded, *views.decoded), self._find)))
        if not spans:
            return PASSED
        return Verdict(False, category=spans[0].kind, score=1.0, reason="a protected text", spans=spans)

    def scanner(self) -> Scanner:
        return RunScanner(self._corpus.find, self._least_words, self._name)

    def _find(self, text: str, start: int) -> Sequence[Span]:
        del start
        if all(self._corpus.find(gram) < 0 for gram in grams_of(texts_of(text))):
            return ()
        words = words_of(text)
        return [
            Span(words[one.first].start, words[one.end - 1].end, self._name(one.of))
            for one in long_runs(words, self._corpus.find, self._least_words)
        ]

    def _name(self, number: int) -> str:
        return self._corpus.names[number]
