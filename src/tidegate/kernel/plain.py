"""Text that others wrote, made fit for a terminal.

A model's answer may hold sequences that move the cursor, rename the window, or make one text look like another.
"""

from __future__ import annotations

import re

# The control characters C0 (without tab and line feed), DEL and C1, and those that turn the direction of writing.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """The text without control characters other than tab and line feed: no escape sequence is left in it.

    Works on any cut of a text: a sequence that comes in two parts loses its escape character all the same.
    """
    return _UNFIT.sub("", text)


def plain_json(text: str) -> str:
    """The same for JSON as msgspec writes it, and nothing is lost: what a terminal would obey becomes a JSON escape."""
    return _UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
