"""Finds the code in Markdown and puts blanks in its place, as the text arrives.

The marks are those of CommonMark (https://spec.commonmark.org/0.31.2/#fenced-code-blocks and #code-spans) with two
differences: a fence may be indented by any white space, as it is in lists, and a code span ends in the line in which it
begins, within `LONGEST_SPAN` characters.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

BLANK: Final = "`"
"""What stands for a character of code. No pattern for code may reach across it."""
LONGEST_SPAN: Final = 256
"""Most characters of a code span, and of the line that opens or closes a block. So much is kept at the most."""
_LEAST_FENCE: Final = 3
_RUN: Final = re.compile(r"`+|~+")
_CLOSES: Final = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*\r?\Z")
_MAY_CLOSE: Final = re.compile(r"[ \t]*[`~]*[ \t]*\r?\Z")


class CodeOut:
    """Reads a text as it arrives, and returns it with blanks for the code in it.

    All of it comes back in the end, character for character, but what may be code is kept until that is known.
    """

    def __init__(self) -> None:
        self._kept = ""
        self._line_is_blank = True  # whether only white space stands before `_kept` in its line
        self._fence = ""  # the mark of the block that has begun
        self._may_close = True  # whether the line of the block may still end it

    def feed(self, text: str, *, last: bool = False) -> str:
        """Take more text, and return what is known. With `last`, no more follows."""
        if not self._kept and not self._fence and "`" not in text and "~" not in text:
            self._pass(text)  # nearly every event of a stream
            return text
        text, at, known = self._kept + text, 0, list[str]()
        while at < len(text):
            part = self._in_block(text, at, last=last) if self._fence else self._in_prose(text, at, last=last)
            if not part:
                break
            known.append(part)
            at += len(part)
        self._kept = text[at:]
        return "".join(known)

    def _pass(self, text: str) -> str:
        _, line_end, line = text.rpartition("\n")
        self._line_is_blank = (bool(line_end) or self._line_is_blank) and not line.strip()
        return text

    def _in_block(self, text: str, at: int, *, last: bool) -> str:
        """Return the next line of a block as blanks, or nothing if the line may still end the block."""
        line_end = text.find("\n", at)
        line = text[at:] if line_end < 0 else text[at:line_end]
        may_close = self._may_close and len(line) < LONGEST_SPAN
        if line_end < 0:
            if may_close and not last and _MAY_CLOSE.match(line):
                return ""
            self._may_close = False
            return BLANK * len(line)
        found = _CLOSES.match(line) if may_close else None
        if found is not None and found[1].startswith(self._fence):
            self._fence = ""
            self._line_is_blank = True
        self._may_close = True
        return f"{BLANK * len(line)}\n"

    def _in_prose(self, text: str, at: int, *, last: bool) -> str:
        """Return the text before the next mark, or that mark with its code, or nothing if it is not known what it is."""
        found = _RUN.search(text, at)
        start = len(text) if found is None else found.start()
        if found is None or start > at:
            return self._pass(text[at:start])
        run, near = found[0], text[at : at + LONGEST_SPAN]
        open_end = not last and len(near) < LONGEST_SPAN
        line, line_end, _ = near[len(run) :].partition("\n")
        waits = open_end and not line_end
        if run[0] == "`" and (end := _span_end(run, line, waits=waits)):
            self._line_is_blank = False
            return f"{run}{BLANK * (end - len(run))}{run}" if end > 0 else ""
        is_fence = self._line_is_blank and len(run) >= _LEAST_FENCE and (run[0] == "~" or "`" not in line)
        if waits and (run[0] == "`" or is_fence or not line):
            return ""
        if is_fence and line_end:
            self._fence = run
            return f"{run}{line}\n"
        return self._pass(run)


def _span_end(run: str, line: str, *, waits: bool) -> int:
    """Return how many characters of a line belong to a code span that a run has begun, its mark included.

    The number is 0 if it has no end, and -1 if the end may still become another mark.
    """
    found = _same_run(len(run)).search(line)
    if found is None:
        return 0
    return -1 if waits and found.end() == len(line) else found.end()


@lru_cache(maxsize=LONGEST_SPAN)
def _same_run(length: int) -> re.Pattern[str]:
    return re.compile(rf"(?<!`)`{{{length}}}(?!`)")
