"""One search for all scanners of a text, since nothing in most events of a stream concerns any of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.ports import Scanner
from tidegate.rails.finders import Growing, joined
from tidegate.rails.streams.spans import SpanScanner, Tail


class JointSearch(msgspec.Struct, frozen=True):
    """The search for the patterns of several scanners at once. It takes milliseconds to make, and serves many streams.

    A text has scanners like these, `count` of them, before any others.
    """

    growing: Growing
    max_chars: int
    count: int
    context_chars: int

    @classmethod
    def of(cls, scanners: Sequence[Scanner]) -> JointSearch | None:
        """Return the search for all that scanners like these find, or None where there is none."""
        own = [one.finder for one in scanners if isinstance(one, SpanScanner)]
        if len(own) < 2 or len(own) < len(scanners):
            return None
        growing = joined([one.growing for one in own])
        context_chars = max(one.context_chars for one in own)
        return cls(growing, min(one.max_chars for one in own), len(own), context_chars)

    def joint(self, scanners: Sequence[Scanner]) -> Joint:
        """Return the joint of the first of some scanners."""
        return Joint(self, [one for one in scanners[: self.count] if isinstance(one, SpanScanner)])


class Joint(Tail):
    """Scanners of one text that are asked only where the joint search finds something.

    While it is `calm`, the joint has the text that is not clear, and the scanners know nothing of it.
    """

    def __init__(self, search: JointSearch, scanners: Sequence[SpanScanner]) -> None:
        super().__init__(search.growing, search.context_chars)
        self._max_chars = search.max_chars
        self._scanners = scanners
        self._calm = True

    def clear_after(self, text: str) -> int:
        """Return how much is clear after this text, or -1 if each scanner has to be fed with it."""
        if not self._calm:
            return -1
        tail, base = self._tail + text, self._base
        if tail.isascii():
            first = self._growing.first_alone(tail, self._from - base)
            if first >= 0 and len(tail) - first <= self._max_chars:
                keep = max(first - self._context_chars, 0)
                self._tail = tail[keep:]
                self._base = base + keep
                self._from = base + first
                return base + first
        self.wake()
        return -1

    def passes(self, text: str) -> bool:
        """Do what `SpanScanner.passes` does, for all scanners at once."""
        return self._calm and self._is_clear_behind(text)

    def wake(self) -> None:
        """Give the scanners what they have missed."""
        if self._calm:
            self._calm = False
            for one in self._scanners:
                one.resume(self._tail, self._base, self._from)

    def rest(self) -> None:
        """Become calm if all scanners have come to the same place, and none is within a match."""
        first = self._scanners[0].place
        if first is not None and all(one.place == first for one in self._scanners):
            self._calm = True
            # The one with the most context.
            self._tail, self._base, self._from = max(
                (one.kept for one in self._scanners), key=lambda kept: len(kept[0])
            )
