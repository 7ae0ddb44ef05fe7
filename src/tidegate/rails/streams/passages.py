"""Cuts the text of a stream into passages, which rails judge that need more than a few characters."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from tidegate.types import Where

TOKEN_CHARS = 5
"""Characters of a token, roughly. There is no tokenizer: models differ, and counts would change with the route."""
_SENTENCE_END = re.compile(r"[.!?…]['\")\]]*\s|[。！？\n]")  # noqa: RUF001 - full-width marks end sentences


class Cut(NamedTuple):
    """How texts are cut into passages.

    `most_chars` is the length of the longest passage, and `context_chars` how much of the text before a passage is shown
    with it. With `sentences`, passages end with sentences too.
    """

    most_chars: int = 32 * TOKEN_CHARS
    context_chars: int = 16 * TOKEN_CHARS
    sentences: bool = True

    def end(self, text: str, *, last: bool) -> int:
        """Return how long the first passage of a text is, or 0 if it is not complete yet.

        A passage ends with a sentence, or at the last space before it would be too long.
        """
        found = _SENTENCE_END.search(text, 0, self.most_chars) if self.sentences else None
        if found is not None:
            return found.end()
        if len(text) >= self.most_chars:
            return text.rfind(" ", 1, self.most_chars) + 1 or self.most_chars
        return len(text) if last else 0


USUAL = Cut()


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


class Passages:
    """The passages of one text, and the rulings on them. `next` is where the next one begins.

    `early` lets the first passage without a ruling leave, but none behind it: at most one is shown before a block.
    """

    def __init__(self, where: Where, cut: Cut, *, whole: bool, is_json: bool, early: bool = False) -> None:
        self.whole = whole
        self._early = early and not whole
        self.cut = cut
        self.next = 0
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
            return self.next
        return self._waiting[0].end if self._early else self._waiting[0].start

    def add(self, end: int, text: str) -> None:
        """Add the passage that ends at `end`."""
        passage = Passage(self._where, self.next, end, text, self._context, self.whole, self._is_json)
        before = self._context + text
        self._context = before[max(len(before) - self.cut.context_chars, 0) :]
        self.next = end
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

    A part to be masked may begin in one passage and end in the next. So the last `context_chars` characters before a
    passage are kept, in whole passages, until that passage has a ruling as well.
    """

    def __init__(self, context_chars: int) -> None:
        self._context_chars = context_chars
        self._before: list[str] = []
        self._ruled: list[Ruled] = []

    def before(self, passage: Passage) -> str:
        """Return what is kept before the next passage, as rails have seen it. Call it once for each, in their order."""
        context = "".join(self._before)
        self._before.append(passage.text)
        del self._before[: self._past(self._before)]
        return context

    def add(self, passage: Passage, text: str, kept: int) -> list[Ruled]:
        """Add a passage before which `kept` characters of the context stay. Returns the passages that may leave."""
        for at, (before, value) in enumerate(self._ruled):
            self._ruled[at] = before, value[: _place(before.text, value, kept)]
            kept -= len(before.text)
        self._ruled.append((passage, text))
        past = self._past([before.text for before, _ in self._ruled])
        leaving, self._ruled = self._ruled[:past], self._ruled[past:]
        return leaving

    def finish(self) -> list[Ruled]:
        """Return all passages: no text follows."""
        leaving, self._ruled = self._ruled, []
        return leaving

    def _past(self, texts: Sequence[str]) -> int:
        """Return how many of these passages need not be kept before the next one."""
        chars = sum(map(len, texts))
        for at, text in enumerate(texts):
            chars -= len(text)
            if chars < self._context_chars:
                return at
        return len(texts)


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
