"""Finds spans in streams: only the text that may be part of a match is held back.

A scanner searches the rest of a stream again whenever more text has arrived. Characters that no match can begin with any
more are clear. A match that reaches the end of what has arrived is not told yet, since it may still grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tidegate.ports import TextViews
from tidegate.rails.finders import Ending, Finder, Growing
from tidegate.types import Scan, Span, View

_GIVE_UP_AFTER = 16
"""Text that only begins like a match is released after `max_chars`, and watched until it is so many times as long."""
_INVISIBLE_CHARS = 4096
"""Characters that do not count, such as invisible ones, that may be held back along with those that do."""
_CONTEXT_CHARS = 64
"""Most characters of released text that are kept for each one of context, invisible ones included."""


def spans_of(finder: Finder, views: TextViews) -> tuple[Span, ...]:
    """Return the spans of a whole text, in characters of the original: those that a scanner finds in a stream of it."""
    return SpanScanner(finder, lambda _: views.folded).feed(views.original, last=True).found


class Tail:
    """The end of a stream's text that a search still needs: a little context, and what is not clear.

    It begins at `_base` of the stream, and a search goes on at `_from`.
    """

    def __init__(self, growing: Growing, context_chars: int) -> None:
        self._growing = growing
        self._context_chars = context_chars
        self._tail: str = ""
        self._base: int = 0
        self._from: int = 0

    def _is_clear_behind(self, text: str) -> bool:
        """Return whether more text is clear at once, with nothing before it that is not. If so, it is taken."""
        tail = self._tail
        at = len(tail)
        if self._from - self._base != at:
            return False
        tail += text
        end = len(tail)
        if not tail.isascii() or self._growing.first_alone(tail, at) != end:
            return False
        keep = max(end - self._context_chars, 0)
        self._tail = tail[keep:]
        self._base += keep
        self._from = self._base + end - keep
        return True


class SpanScanner(Tail):
    """Scans one text of a stream. Satisfies `ports.Scanner`.

    `read` returns the folded view of a text. Spans that overlap are told as one, of the kind with the highest score.
    """

    def __init__(self, finder: Finder, read: Callable[[str], View]) -> None:
        super().__init__(finder.growing, finder.context_chars)
        self.finder = finder
        self._max_chars = finder.max_chars
        self._plain: bool = True  # whether nothing is swallowed, watched or stopped
        self._read = read
        self._clear: int = 0
        self._edge: int = 0  # a match that ends behind it reaches the end of what has arrived
        self._inside: Ending | None = None
        self._kind = ""
        self._stopped = False

    def feed(self, text: str, *, last: bool = False) -> Scan:
        tail = self._tail + text
        if not tail.isascii():
            return self._advance(tail, self._read(tail), last=last)
        if not last and self._plain:
            # Fast path: nothing is complete in nearly every event of a stream.
            base = self._base
            first = self._growing.first_alone(tail, self._from - base)
            if first >= 0 and len(tail) - first <= self._max_chars:
                keep = max(first - self._context_chars, 0)
                self._tail = tail[keep:]
                self._base = base + keep
                self._from = self._clear = base + first
                return Scan(base + first)
        return self._advance(tail, View("folded", tail), last=last)

    def passes(self, text: str) -> bool:
        """Take more text if it is clear at once, and nothing before it is held. Returns False if it was not taken.

        This is the usual event of a stream. `feed` would say that all is clear and nothing is found.
        """
        if not self._plain or not self._is_clear_behind(text):
            return False
        self._clear = self._from
        return True

    @property
    def place(self) -> int | None:
        """The place from which a search would go on, or None if more has to be known than the text from there."""
        return self._from if self._plain else None

    @property
    def kept(self) -> tuple[str, int, int]:
        """The text that is kept, its place in the stream, and the place from which a search would go on."""
        return self._tail, self._base, self._from

    def resume(self, tail: str, base: int, place: int) -> None:
        """Go on at a place, before which no text is of interest any more. `tail` is the text kept, and begins at `base`."""
        self._tail, self._base = tail, base
        self._from = self._clear = place

    def _advance(self, tail: str, view: View, *, last: bool) -> Scan:
        if self._stopped:
            return Scan(self._clear, too_long=True)
        places = _Places(view, len(tail))
        base, before = self._base, self._clear
        start, clear = places.index(self._from - base), places.index(before - base)
        self._edge = len(view.text) if last else places.edge
        step = self._step(view.text, start, clear, last=last)
        self._clear = base + places.begin(step.clear)
        self._from = base + places.begin(step.start)
        if step.too_long or base + len(tail) - self._clear > self.finder.max_chars + _INVISIBLE_CHARS:
            self._stopped = True
        self._plain = self._inside is None and self._from == self._clear and not self._stopped
        self._keep(tail, places.before(min(step.start, step.clear), self._context_chars))
        found = [places.span(one, base) for one in step.found]
        if self._inside is not None or any(one.goes_on for one in found):
            found = self._seamless(found, before)
        return Scan(self._clear, tuple(found), self._stopped)

    def _seamless(self, found: Sequence[Span], start: int) -> list[Span]:
        """Let what is swallowed also cover the characters that have no place in the folded text."""
        spans: list[Span] = []
        for one in found:
            spans.append(one._replace(start=start) if one.goes_on else one)
            start = one.end
        if self._inside is not None and start < self._clear:
            if spans:
                spans[-1] = spans[-1]._replace(end=self._clear)
            else:
                spans.append(Span(start, self._clear, self._kind, goes_on=True))
        return spans

    def _keep(self, tail: str, begin: int) -> None:
        begin = max(begin, min(self._from, self._clear) - self._base - _CONTEXT_CHARS * self._context_chars)
        self._tail = tail[begin:]
        self._base += begin

    def _step(self, text: str, start: int, clear: int, *, last: bool) -> _Step:
        found: list[Span] = []
        while True:
            if self._inside is not None:
                step = self._swallow(text, start, clear, found)
            else:
                step = self._search(text, start, clear, found, last=last)
            if step is not None:
                return step
            start = clear = found[-1].end

    def _swallow(self, text: str, start: int, clear: int, found: list[Span]) -> _Step | None:
        """Tell the text up to the ending. Returns None if the search has to go on behind it."""
        assert self._inside is not None
        ending = next(iter(self._inside.patterns.find(text, start)), None)
        end = len(text) if ending is None else ending.end
        if end > clear:
            found.append(Span(clear, end, self._kind, goes_on=True))
        if ending is None:
            return _Step(found, end, max(start, end - self._inside.max_chars))
        self._inside = None
        return None

    def _search(self, text: str, start: int, clear: int, found: list[Span], *, last: bool) -> _Step | None:
        """Tell the matches that are complete. Returns None if one of them begins a part that is swallowed."""
        finder = self.finder
        end = len(text)
        spans = finder.find(text, start)
        first = end if last else finder.growing.first(text, start)
        limit = end - finder.max_chars
        # What only begins like a match is let go when it is too long. Its whole match would begin before `clear`.
        firm = first if first >= limit else finder.growing.first(text, limit)
        free = max(firm, clear)
        for span in united(spans):
            if span.end <= clear:
                continue  # told already, and within what is watched
            grows = span.start == first or span.end > self._edge
            # One that does not grow itself may overlap one that does.
            most = finder.max_chars if grows else 2 * finder.max_chars
            if span.start < clear or (span.start < end - most and (grows or span.end > firm)):
                return _Step(found, clear, clear, too_long=True)
            if grows or span.end > firm:
                free = min(free, span.start)
                break
            found.append(span)
            if span.kind in finder.until:
                self._inside, self._kind = finder.until[span.kind], span.kind
                return None
        watched = first < limit and end - first <= finder.max_chars * _GIVE_UP_AFTER
        return _Step(found, free, min(first, free) if watched else free)


class _Step(NamedTuple):
    """What a search has found, in characters of the folded text. The next one begins at `start`."""

    found: Sequence[Span]
    clear: int
    start: int
    too_long: bool = False


class _Places:
    """The way between the characters of a folded text and those of the original."""

    __slots__ = ("_ends", "_length", "_starts")

    def __init__(self, view: View, length: int) -> None:
        self._starts = view.starts
        self._ends = view.ends
        self._length = length

    def index(self, place: int) -> int:
        return place if self._starts is None else bisect_left(self._starts, place)

    def begin(self, index: int) -> int:
        if self._starts is None:
            return index
        return self._starts[index] if index < len(self._starts) else self._length

    def before(self, index: int, count: int) -> int:
        """The beginning of the `count` characters before one."""
        return self.begin(max(index - count, 0))

    @property
    def edge(self) -> int:
        """The index of the first character that reaches the end of the original. A mark that follows may belong to it."""
        return self._length - 1 if self._ends is None else bisect_left(self._ends, self._length)

    def span(self, span: Span, base: int) -> Span:
        if self._ends is None and not base:
            return span
        end = span.end if self._ends is None else self._ends[span.end - 1]
        return Span(base + self.begin(span.start), base + end, span.kind, span.score, span.goes_on)


def united(spans: Sequence[Span]) -> Sequence[Span]:
    """Return spans in order, with those that overlap as one, of the kind with the highest score, then of the longest.

    A span that goes on is united with the one before it.
    """
    if len(spans) < 2:
        return spans
    found: list[Span] = []
    for span in sorted(spans):
        if found and (span.start < found[-1].end or span.goes_on):
            before = found.pop()
            best = (
                before
                if span.goes_on
                else max(before, span, key=lambda one: (one.score, one.end - one.start))
            )
            found.append(best._replace(start=before.start, end=max(before.end, span.end)))
        else:
            found.append(span)
    return found
