"""Makes untrusted text safe to print on a terminal.

A model's answer may contain escape sequences that move the cursor, rename the window, or make one text look like another.
"""

from __future__ import annotations

import re

# C0 control characters except tab and line feed, DEL, C1, and the characters that change the direction of writing.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return the text without control characters, except tab and line feed. No escape sequence is left.

    A text may be passed in pieces, cut anywhere: a sequence that is split between two pieces still loses its escape
    character.
    """
    return _UNFIT.sub("", text)


def plain_json(text: str) -> str:
    """Do the same for JSON encoded by msgspec, without loss: each such character becomes a JSON escape."""
    return _UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
