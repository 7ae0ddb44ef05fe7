"""Searches texts for what some recognizers recognize."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tidegate.kernel.beginnings import beginnings
from tidegate.kernel.linear import Expression, compiled, compiled_set
from tidegate.kernel.text.folding import folded
from tidegate.rails.rules.recognizers.recognizer import (
    CONTEXT_CHARS,
    CONTEXT_GAIN,
    Recognizer,
    context,
)
from tidegate.types.verdict import Span

_FOLLOWED: Final = r"[-.:/,+%@]?[0-9A-Za-z_]"
"""What a judge may look at behind a match."""

_DIGIT: Final = re.compile(r"[0-9]")


class _Known(NamedTuple):
    recognizer: Recognizer
    pattern: Expression
    words: Expression | None


class Search:
    """Finds the entities of some recognizers in folded texts, those with `threshold` or more. Satisfies `Growing`.

    `allow` are values that are never reported. `run` are the characters of which the beginning of an entity consists up to
    its first digit, if that is so for all of them: then the beginning is found faster.
    """

    def __init__(
        self, recognizers: Iterable[Recognizer], *, threshold: float, allow: Iterable[str] = (), run: str = ""
    ) -> None:
        self._run = run
        self._known = [_known(one) for one in recognizers]
        self._threshold = threshold
        self._allow = frozenset(folded(value).text.casefold() for value in allow)
        self.max_chars = max(one.recognizer.max_chars for one in self._known)
        self.sources = sources = tuple(_source(one.recognizer) for one in self._known)
        begun = "|".join(_begun(one.recognizer) for one in self._known)
        # Nearly all texts have neither: one pass of a set tells.
        self._begun = compiled(f"(?:{begun})\\z")
        self._set = compiled_set([*sources, f"(?:{begun})\\z"])
        self._open = len(sources)

    def may_find(self, text: str) -> bool:
        """Return whether any pattern matches, which takes a microsecond or two."""
        present = self._set.Match(text)
        return bool(present) and present != [self._open]

    def find(self, text: str, start: int = 0) -> list[Span]:
        """Return the entities that begin at `start` or later. Those of different kinds may overlap."""
        present = self._set.Match(text)
        if not present or present == [self._open]:
            return []
        # RE2 counts the characters of a text again for each search, and nothing for bytes.
        raw = text.encode() if text.isascii() else text
        known = [self._known[at] for at in present if at != self._open]
        return sorted(span for one in known for span in self._spans(one, text, raw, start))

    def first(self, text: str, start: int = 0) -> int:
        if self._run and _DIGIT.search(text, start) is None:
            return max(start, len(text.rstrip(self._run)))
        found = self._begun.search(text, start)
        return len(text) if found is None else found.start()

    def first_alone(self, text: str, start: int = 0) -> int:
        # Patterns look at one character before them. With more of the context, the automaton would have to keep apart what
        # went before each chunk of a stream, and make new states for nearly every one.
        present = self._set.Match(text[max(start - 1, 0) :].encode())
        if not present:
            return len(text)
        return self.first(text, start) if present == [self._open] else -1

    def _spans(self, known: _Known, text: str, raw: str | bytes, start: int) -> Iterator[Span]:
        """Yield the entities of one recognizer.

        What is judged at a place must not depend on matches before it that came to nothing: streams begin anywhere. So the
        search goes on at the next word of such a match.
        """
        if known.recognizer.most < self._threshold and not _supported(known, text, len(text), len(text)):
            return
        again = True
        while again:
            again = False
            for match in known.pattern.finditer(raw, start):
                first, end = match.span()
                span = self._judged(known, text, first, end)
                if span is not None:
                    yield span
                start = _next_word(text, first, end) if span is None else max(span.end, first + 1)
                if start < end:
                    again = True
                    break

    def _judged(self, known: _Known, text: str, start: int, end: int) -> Span | None:
        recognizer = known.recognizer
        if recognizer.most < self._threshold and not _supported(known, text, start):
            return None
        found = recognizer.judge(text, start, end)
        if found is None:
            return None
        score = found.score
        if score < 1 and _supported(known, text, found.start):
            score = min(score + CONTEXT_GAIN, 1.0)
        if score < self._threshold or text[found.start : found.end].casefold() in self._allow:
            return None
        return Span(found.start, found.end, recognizer.entity, score)


def _next_word(text: str, start: int, end: int) -> int:
    space = text.find(" ", start, end)
    return end if space < 0 else space + 1


def _supported(known: _Known, text: str, end: int, chars: int = CONTEXT_CHARS) -> bool:
    """Return whether a supporting word is among the `chars` characters before a place."""
    return known.words is not None and known.words.search(text[max(0, end - chars) : end]) is not None


def _known(recognizer: Recognizer) -> _Known:
    words = context(folded(word).text for word in recognizer.words)
    return _Known(recognizer, compiled(_source(recognizer)), words)


def _source(recognizer: Recognizer) -> str:
    return f"(?i:{recognizer.source})" if recognizer.ignore_case else f"(?:{recognizer.source})"


def _begun(recognizer: Recognizer) -> str:
    source = f"(?:{recognizer.source}){_FOLLOWED}"
    return f"(?i:{beginnings(source)})" if recognizer.ignore_case else beginnings(source)
