"""Changes of texts: parts that are masked, and placeholders that come back in the answer."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tidegate.kernel.matching import WordList
from tidegate.rails.finders import as_it_is, by_words
from tidegate.rails.streams.spans import SpanScanner
from tidegate.rails.streams.spans import united as united_spans
from tidegate.types import Span

_NONCE_BYTES = 8
INVISIBLE, TAGS, SELECTORS, BIDI = (
    "INVISIBLE_CHARACTERS",
    "TAG_CHARACTERS",
    "VARIATION_SELECTORS",
    "BIDI_CONTROLS",
)
_REMOVED = frozenset({INVISIBLE, TAGS, SELECTORS, BIDI})
"""The kinds of spans that nobody sees: they are removed, since a mask would tell a reader of what was not there."""


class Edit(NamedTuple):
    """A change of a text: `put` replaces the characters from `start` up to, but not including, `end`.

    `rank` is the place of the rail that wants it among all that change the text.
    """

    start: int
    end: int
    put: str
    rank: int = 0


def mask(span: Span, text: str) -> str:
    """Return what a part of a text is replaced with: its kind in angle brackets, or nothing if it is invisible.

    `text` is that part.
    """
    del text
    return "" if span.kind in _REMOVED else f"<{span.kind}>"


def masks(spans: Iterable[Span]) -> list[Edit]:
    """Return the edits that mask spans."""
    return [Edit(span.start, span.end, mask(span, "")) for span in united_spans(list(spans))]


def united(edits: Iterable[Edit]) -> list[Edit]:
    """Return edits in order, with those that overlap as one, which puts what the first of them does.

    The first is the one that begins first, and of several the one of the first rail. The order of `edits` does not matter.

    An edit that puts nothing and begins where another ends is united with it, as one that goes on.
    """
    result: list[Edit] = []
    for edit in sorted(edits, key=lambda one: (one.start, bool(one.put), one.rank)):
        if result and (edit.start < result[-1].end or (edit.start == result[-1].end and not edit.put)):
            before = result.pop()
            result.append(before._replace(end=max(before.end, edit.end)))
        else:
            result.append(edit)
    return result


def edited(text: str, edits: Sequence[Edit], at: int = 0) -> str:
    """Return a text after edits, which are in order and do not overlap. `at` is the place of its first character.

    What an edit puts stands where the edit begins, so a text that has only the rest of it loses that rest.
    """
    parts: list[str] = []
    done, end = at, at + len(text)
    for edit in edits:
        if edit.end <= done:
            continue
        if edit.start >= end:
            break
        if edit.start >= at:
            parts += (text[done - at : edit.start - at], edit.put)
        done = min(edit.end, end)
    parts.append(text[done - at :])
    return "".join(parts)


class Placeholders:
    """The placeholders of one call, such as `<EMAIL_ADDRESS_1_9f86d081884c7d65>`, and what they stand for.

    Equal values have equal placeholders. The nonce differs from call to call and cannot be guessed, so a text that somebody
    else wrote in the shape of a placeholder stays as it is.
    """

    def __init__(self, nonce: str = "") -> None:
        self._nonce = nonce or secrets.token_hex(_NONCE_BYTES)
        self._given: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}

    def hide(self, span: Span, text: str) -> str:
        """Return the placeholder of a value, or nothing if the value is invisible. `text` is the value."""
        if span.kind in _REMOVED:
            return ""
        key = (span.kind, text)
        given = self._given.get(key)
        if given is None:
            given = f"<{span.kind}_{len(self._given) + 1}_{self._nonce}>"
            self._given[key] = given
            self._values[given] = text
        return given

    def hidden(self, text: str, spans: Iterable[Span]) -> str:
        """Return a text with placeholders instead of spans, which may overlap."""
        every = united_spans(list(spans))
        return edited(
            text, [Edit(one.start, one.end, self.hide(one, text[one.start : one.end])) for one in every]
        )

    def restored(self, text: str) -> str:
        """Return a whole text with the values instead of their placeholders."""
        found = self.scanner().feed(text, last=True).found
        return edited(
            text, [Edit(one.start, one.end, self.value(one, text[one.start : one.end])) for one in found]
        )

    def value(self, span: Span, text: str) -> str:
        """Return what a placeholder stands for. `text` is the placeholder."""
        del span
        return self._values[text]

    def scanner(self) -> SpanScanner:
        """Return a scanner that finds the placeholders in a stream."""
        words = WordList("placeholder", self._values, whole_words=False, ignore_case=False)
        return SpanScanner(by_words(words), as_it_is)

    def __bool__(self) -> bool:
        return bool(self._values)
