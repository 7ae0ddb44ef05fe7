r"""Replaces lone surrogates in JSON.

If a tokenizer splits an emoji, engines may send each half as a separate escape, `"\ud83c"` and then `"\udf0a"`. JSON's
grammar allows such an escape (RFC 8259, 8.2), but strict decoders refuse it.
"""

from __future__ import annotations

import re

# The pattern consumes every escape from its backslash on, so the `u` of `\\\\ud83c` does not count as an escape.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def without_lone(text: bytes) -> bytes:
    """Return the JSON with each lone surrogate replaced by U+FFFD."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)
