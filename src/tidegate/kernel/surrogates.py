r"""Lone halves of surrogate pairs in JSON.

A tokenizer that cuts an emoji in two makes engines send each half as an escape of its own, `"\ud83c"` and then `"\udf0a"`.
JSON's grammar allows that (RFC 8259, 8.2), strict decoders do not.
"""

from __future__ import annotations

import re

# Every escape is consumed from its backslash on, so that the `u` of `\\\\ud83c` begins none.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def without_lone(text: bytes) -> bytes:
    """The same JSON with U+FFFD in the place of every half that stands alone."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)
