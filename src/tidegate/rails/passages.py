"""Cuts the text of a stream into passages, which rails judge that need more than a few characters."""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

from tidegate.types import Where

MOST_CHARS = 160
"""Longest passage, about 32 tokens. There is no tokenizer: models differ, and counts would change with the route."""
CONTEXT_CHARS = 80
"""How much of the text before a passage is shown with it, about 16 tokens."""
_SENTENCE_END = re.compile(r"[.!?…]['\")\]]*\s|[。！？\n]")  # noqa: RUF001 - full-width marks end sentences


class Passage(NamedTuple):
    """A part of a text that waits for a ruling, from `start` up to, but not including, `end`, in characters of the stream.

    `text` is that part as it would be sent, after edits. `context` is what was sent before it. `whole` says that it is the
    whole text of its place. `is_json` says that it is a JSON document.
    """

    where: Where
    start: int
    end: int
    text: str
    context: str = ""
    whole: bool = False
    is_json: bool = False


def passage_end(text: str, *, last: bool) -> int:
    """Return how long the first passage of a text is, or 0 if it is not complete yet.

    A passage ends with a sentence, or at the last space before it would be too long.
    """
    found = _SENTENCE_END.search(text, 0, MOST_CHARS)
    if found is not None:
        return found.end()
    if len(text) > MOST_CHARS:
        return text.rfind(" ", 1, MOST_CHARS) + 1 or MOST_CHARS
    return len(text) if last else 0


class Passages:
    """The passages of one text, and the rulings on them. `cut` is where the next one begins.

    `early` lets the first passage without a ruling leave, but none behind it: at most one is shown before a block.
    """

    def __init__(self, where: Where, *, whole: bool, is_json: bool, early: bool = False) -> None:
        self.whole = whole
        self._early = early and not whole
        self.cut = 0
        self._where = where
        self._is_json = is_json
        self._context = ""
        self._waiting: deque[Passage] = deque()  # in order, from the first one without a ruling on
        self._ruled: set[Passage] = set()
        self._new: list[Passage] = []

    @property
    def clear(self) -> int:
        """How much of the text may leave."""
        if not self._waiting:
            return self.cut
        return self._waiting[0].end if self._early else self._waiting[0].start

    def add(self, end: int, text: str) -> None:
        """Add the passage that ends at `end`."""
        passage = Passage(self._where, self.cut, end, text, self._context, self.whole, self._is_json)
        self._context = (self._context + text)[-CONTEXT_CHARS:]
        self.cut = end
        self._waiting.append(passage)
        self._new.append(passage)

    def completed(self) -> list[Passage]:
        """Return the passages that are complete since the last time."""
        new, self._new = self._new, []
        return new

    def release(self, passage: Passage) -> None:
        """Let a passage leave, once all before it may."""
        self._ruled.add(passage)
        while self._waiting and self._waiting[0] in self._ruled:
            self._ruled.remove(self._waiting.popleft())


Ruled = tuple[Passage, str]
"""A passage that rails have let pass, and what it says after their changes."""


class Followed:
    """Passages of one text that rails have let pass, and that wait for what follows.

    A part to be masked may begin in one passage and end in the next. So the last `CONTEXT_CHARS` characters before a
    passage are kept until that passage has a ruling as well.
    """

    def __init__(self) -> None:
        self._ruled: list[Ruled] = []

    @property
    def context(self) -> str:
        """What stands before the next passage and has not left, as rails have seen it."""
        return "".join(passage.text for passage, _ in self._ruled)

    def add(self, passage: Passage, text: str, kept: int) -> list[Ruled]:
        """Add a passage before which `kept` characters of the context stay. Returns the passages that may leave."""
        for at, (before, value) in enumerate(self._ruled):
            self._ruled[at] = before, value[: _place(before.text, value, kept)]
            kept -= len(before.text)
        self._ruled.append((passage, text))
        chars = len(self.context)
        leaving: list[Ruled] = []
        while (chars := chars - len(self._ruled[0][0].text)) >= CONTEXT_CHARS:
            leaving.append(self._ruled.pop(0))
        return leaving

    def finish(self) -> list[Ruled]:
        """Return all passages: no text follows."""
        leaving, self._ruled = self._ruled, []
        return leaving


def _place(text: str, changed: str, at: int) -> int:
    """Return where in a changed text the first `at` characters of the text end, or a place before that.

    It is before that only if changes stand on both sides.
    """
    if at <= 0:
        return 0
    tail = text[at:]
    if changed.endswith(tail):
        return len(changed) - len(tail)
    alike = zip(text[:at], changed, strict=False)
    return next((place for place, (one, other) in enumerate(alike) if one != other), min(at, len(changed)))
