"""The rail `bloat`: texts that fill the context of the model: too long, repeated, random, or one thing again and again.

Such texts cost money and push out what stands before them. They are measured part by part, in time that is linear in the
text.
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from typing import ClassVar, Final, Literal

from pydantic import Field

from tidegate.config.rails import RailConfig
from tidegate.kernel.matching import without_surrogates
from tidegate.ports import PartReader, TextViews
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Surface, Verdict

PART_CHARS: Final = 4096
"""The information of a text is measured in parts of so many characters."""
SEQUENCE_WORDS: Final = 8
"""Words in a row that count as repeated."""
_LONGEST_WORD: Final = 24
_WORD: Final = re.compile(rf"\w{{1,{_LONGEST_WORD}}}|[^\w\s]{{1,{_LONGEST_WORD}}}")
_FASTEST: Final = 1


class BloatConfig(RailConfig):
    """Settings of the rail `bloat`. A limit that is null does not count."""

    kind: Literal["bloat"] = "bloat"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    max_chars: int | None = Field(default=200_000, ge=1, description="Most characters of one text.")
    max_words: int | None = Field(
        default=None, ge=1, description="Most words of one text, as white space separates them."
    )
    max_repeated_lines: float | None = Field(
        default=0.6,
        gt=0,
        lt=1,
        description="Largest part of a text, 0 to 1 in characters, that lines may have which have occurred in it before.",
    )
    max_repeated_words: float | None = Field(
        default=0.7,
        gt=0,
        lt=1,
        description=f"Largest part of a text, 0 to 1, that may be {SEQUENCE_WORDS} words in a row which have occurred in it"
        " before.",
    )
    min_bits: float | None = Field(
        default=0.25,
        gt=0,
        lt=8,
        description=f"Least information in {PART_CHARS:,} characters, in bits for each byte of UTF-8, as deflate compresses"
        " it. Prose has 3 to 4.5, tables and logs 1 to 2, one word again and again 0.1.",
    )
    max_bits: float | None = Field(
        default=5.7,
        gt=0,
        lt=9,
        description="Most information, in the same bits. Random letters and digits, and base64, have 6 and more.",
    )
    min_chars: int = Field(
        default=1000,
        ge=100,
        description="Shorter texts are only measured against `max_chars` and `max_words`.",
    )


class Bloat:
    """Finds texts that fill the context: by their length, what is repeated in them, and how much they say.

    Satisfies `ports.Rule` and `ports.InParts`.
    """

    Config: ClassVar[type[BloatConfig]] = BloatConfig

    def __init__(self, config: BloatConfig) -> None:
        self._config = config
        self.about = RailFacts(
            name=config.name or "bloat",
            version="1",
            surfaces=frozenset(Surface) - {Surface.OUTPUT},
            usual=frozenset({Surface.INPUT, Surface.RETRIEVAL, Surface.TOOL}),
            hold=Hold("none"),
            usual_ms=0.05,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        del scene
        text, measure = views.original, _Measure(self._config)
        if len(text) < self._config.min_chars:
            measure.count(text)
        else:
            measure.feed(text)
        return measure.verdict()

    def reader(self, scene: Scene) -> PartReader:
        del scene
        return _Measure(self._config)


class _Measure:
    """The measures of one text so far. Satisfies `ports.PartReader`."""

    def __init__(self, config: BloatConfig) -> None:
        self._config = config
        self._chars = 0
        self._words = 0
        self._part = ""  # its information has not been measured
        self._lines = _Lines()
        self._sequences = _Sequences()
        self._objection: Verdict | None = None

    def feed(self, part: str) -> None:
        self.count(part)
        if self._objection is None:
            self._lines.feed(part)
            self._sequences.feed(part)
            self._weigh(part)

    def count(self, part: str) -> None:
        """Measure only the length."""
        self._chars += len(part)
        self._words += len(part.split())
        limit = self._config
        if limit.max_chars is not None and self._chars > limit.max_chars:
            self._object("too_long", f"the text has more than `max_chars` ({limit.max_chars:,}) characters")
        elif limit.max_words is not None and self._words > limit.max_words:
            self._object("too_long", f"the text has more than `max_words` ({limit.max_words:,}) words")

    def verdict(self) -> Verdict:
        if self._objection is None and self._chars >= self._config.min_chars:
            self._measure_information()
            self._lines.feed("\n")
            self._compare("lines", self._lines.repeated / self._chars, self._config.max_repeated_lines)
            self._compare("words", self._sequences.share, self._config.max_repeated_words)
        return self._objection or PASSED

    def _weigh(self, part: str) -> None:
        self._part += part
        while len(self._part) >= 2 * PART_CHARS:
            self._measure_information(PART_CHARS)

    def _measure_information(self, chars: int | None = None) -> None:
        part, self._part = self._part[:chars], self._part[chars:] if chars else ""
        data = without_surrogates(part).encode()
        bits = 8 * len(zlib.compress(data, _FASTEST)) / len(data)
        limit = self._config
        if limit.min_bits is not None and bits < limit.min_bits:
            self._object(
                "says_little", f"{bits:.2f} bits a byte are less than `min_bits` ({limit.min_bits:g})"
            )
        elif limit.max_bits is not None and bits > limit.max_bits:
            self._object("random", f"{bits:.2f} bits a byte are more than `max_bits` ({limit.max_bits:g})")

    def _compare(self, what: str, share: float, limit: float | None) -> None:
        if limit is not None and share > limit:
            reason = (
                f"{share:.0%} of the text are repeated {what}, more than `max_repeated_{what}` ({limit:.0%})"
            )
            self._object(f"repeated_{what}", reason)

    def _object(self, category: str, reason: str) -> None:
        self._objection = self._objection or Verdict(False, category, 1.0, reason)


class _Lines:
    """Counts the characters of lines that have occurred before, line ends included."""

    def __init__(self) -> None:
        self.repeated = 0
        self._seen: set[int] = set()
        self._begun: list[str] = []

    def feed(self, part: str) -> None:
        *whole, rest = part.split("\n")
        for line in whole:
            if self._begun:
                line = "".join((*self._begun, line))  # noqa: PLW2901
                self._begun.clear()
            self._count(line)
        if rest:
            self._begun.append(rest)

    def _count(self, line: str) -> None:
        key = hash(line.strip())
        if key in self._seen:
            self.repeated += len(line) + 1
        elif line.strip():
            self._seen.add(key)


class _Sequences:
    """Counts sequences of words that have occurred before. Words longer than `_LONGEST_WORD` are cut."""

    def __init__(self) -> None:
        self._count = 0
        self._repeated = 0
        self._seen: set[int] = set()
        self._last: deque[str] = deque(maxlen=SEQUENCE_WORDS)

    def feed(self, part: str) -> None:
        for word in _WORD.findall(part):
            self._last.append(word)
            if len(self._last) == SEQUENCE_WORDS:
                self._add(hash(tuple(self._last)))

    def _add(self, key: int) -> None:
        self._count += 1
        if key in self._seen:
            self._repeated += 1
        else:
            self._seen.add(key)

    @property
    def share(self) -> float:
        return self._repeated / max(self._count, 1)
