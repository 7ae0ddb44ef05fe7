"""Finds runs of shared words in streams. Only the words that may belong to a run are held back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tidegate.kernel.text.folding import folded
from tidegate.rails.rules.leaking.words import (
    GRAM,
    LETTERS_A_WORD,
    LONGEST_GAP,
    LONGEST_WORD,
    Known,
    Word,
    is_long,
    runs_of,
    words_of,
)
from tidegate.types.verdict import Scan, Span, View

_INVISIBLE_CHARS: Final = 4096
"""Characters that do not count, such as invisible ones, that may be held back along with those that do."""


def most_held(least_words: int) -> int:
    """Return how many characters are held back at most for runs of so many words."""
    return (LETTERS_A_WORD * least_words + GRAM) * (LONGEST_WORD + LONGEST_GAP)


class RunScanner:
    """Scans one text of a stream for runs of at least `least_words` words. Satisfies `ports.Scanner`.

    A run is told as soon as it is long enough, and what follows of it as a span that goes on. `kind_of` returns the kind of
    a span for what `known` has told of the first gram of its run.
    """

    def __init__(self, known: Known, least_words: int, kind_of: Callable[[int], str]) -> None:
        self._known = known
        self._least_words = least_words
        self._kind_of = kind_of
        self._most_held = most_held(least_words) + _INVISIBLE_CHARS
        self._tail = ""  # the text from `_base` on: the words that may belong to a run
        self._base = 0
        self._clear = 0
        self._told_to = 0  # the end of the last run
        self._kind = ""  # of the run that was told and may go on, whose last words the tail begins with
        self._stopped = False

    def feed(self, text: str, *, last: bool = False) -> Scan:
        if self._stopped:
            return Scan(self._clear, too_long=True)
        self._tail += text
        view = folded(self._tail)
        words = words_of(view.text)
        growing = len(view.text)
        if not last and words and words[-1].end == growing:
            growing = words.pop().start
        is_open = not last and bool(words) and growing - words[-1].end <= LONGEST_GAP
        found: list[Span] = []
        if not (
            is_open and self._kind and len(words) < GRAM
        ):  # otherwise the next word of the run has not arrived
            found, held = self._told(view, words, is_open=is_open)
            first = words[held].start if held < len(words) else growing
            self._forget(len(self._tail) if first == len(view.text) else _start(view, first))
        self._stopped = len(self._tail) > self._most_held
        return Scan(self._clear, tuple(found), self._stopped)

    def _told(self, view: View, words: Sequence[Word], *, is_open: bool) -> tuple[list[Span], int]:
        """Return the spans that are known now, and the first word that may belong to one that is not."""
        held = max(len(words) - GRAM + 1, 0) if is_open else len(words)
        goes_on, self._kind = self._kind, ""
        found: list[Span] = []
        for run in runs_of(words, self._known):
            may_grow = is_open and run.end == len(words)
            continues = bool(goes_on) and run.first == 0
            if continues or is_long(words, run, self._least_words):
                kind = goes_on if continues else self._kind_of(run.of)
                start = self._base + _start(view, words[run.first].start)
                end = self._base + _end(view, words[run.end - 1].end)
                # What was told of a run is a part of the next one, if they overlap.
                found.append(Span(max(start, self._told_to), end, kind, goes_on=start < self._told_to))
                self._told_to = end
                self._kind = kind if may_grow else ""
            elif may_grow:
                held = min(held, run.first)
        return found, held

    def _forget(self, chars: int) -> None:
        self._tail = self._tail[chars:]
        self._base += chars
        self._clear = max(self._base, self._told_to)


def _start(view: View, index: int) -> int:
    return index if view.starts is None else view.starts[index]


def _end(view: View, index: int) -> int:
    return index if view.ends is None else view.ends[index - 1]
