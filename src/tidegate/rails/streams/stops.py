"""Stop strings for engines that do not cut their answers themselves."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.kernel.matching import WordList
from tidegate.rails.finders import as_it_is, by_words
from tidegate.rails.streams.spans import SpanScanner


class Stops:
    """Ends one text of a stream before the first of some strings."""

    def __init__(self, strings: Sequence[str]) -> None:
        words = WordList("stop", strings, whole_words=False, ignore_case=False)
        self._scanner = SpanScanner(by_words(words), as_it_is)
        self._held = ""  # may be the beginning of a stop string
        self._passed = 0
        self._stopped = False

    def feed(self, text: str, *, last: bool = False) -> tuple[str, bool]:
        """Return the text that comes next, and whether it ends there."""
        if self._stopped:
            return "", True
        self._held += text
        scan = self._scanner.feed(text, last=last)
        self._stopped = bool(scan.found)
        end = (scan.found[0].start if scan.found else scan.clear) - self._passed
        out, self._held = self._held[:end], self._held[end:]
        self._passed += end
        return out, self._stopped
