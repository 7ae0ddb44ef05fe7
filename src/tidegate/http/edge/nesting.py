"""Limits the depth of a JSON body and the number of its lists and objects, before any object is built from it.

A parser spends stack on depth. It spends 56 bytes and a pointer on an empty list, which takes only two bytes in the body.
No Python code runs for each byte: searching, deleting and replacing happen in C. The checks do not validate the JSON. The
parser does that afterwards.
"""

from __future__ import annotations

from tidegate.errors import BadRequest

_BRACKETS = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_BRACKETS_AND_QUOTES = bytes(set(range(256)) - set(b'[]{}"'))

# For bodies up to this size, counting all brackets is cheaper than stopping at the first one over the limit.
_SHORT_BYTES = 4096


def check_nesting(body: bytes, *, max_depth: int, max_containers: int) -> None:
    """Raise BadRequest that names the limit if the body exceeds one.

    This takes a microsecond for a short chat, and 5 ns a byte for a chat with many parts.
    """
    # With so few opening brackets, no limit can be exceeded, even if none of the brackets is inside a string.
    if len(body) < _SHORT_BYTES and body.count(b"[") + body.count(b"{") <= min(max_depth, max_containers):
        return
    left = _less_openings(body, b"[", _less_openings(body, b"{", min(max_depth, max_containers)))
    if left >= 0:
        return
    levels = _brackets(body, 4 * max_containers)
    if levels.count(b"[") > max_containers:
        raise too_many(max_containers)
    for _ in range(max_depth):
        inner = levels.replace(b"[]", b"")  # every innermost pair
        if len(inner) == len(levels):
            break
        levels = inner
    if levels.count(b"[") > max_depth or b"[]" in levels:
        raise too_deep(max_depth)


def too_many(max_containers: int) -> BadRequest:
    """Return the error for a body with more than `max_containers` lists and objects."""
    return BadRequest(f"The body holds more than {max_containers} lists and objects")


def too_deep(max_depth: int) -> BadRequest:
    """Return the error for a body that is nested deeper than `max_depth` levels."""
    return BadRequest(f"The body is nested deeper than {max_depth} levels")


def _less_openings(body: bytes, bracket: bytes, count: int) -> int:
    """Return `count` minus the occurrences of `bracket`, or -1 if there are more. `bytes.count` takes twice as long."""
    at = body.find(bracket)
    while at >= 0 <= count:
        count -= 1
        at = body.find(bracket, at + 1)
    return count


def _brackets(body: bytes, most_strings: int) -> bytes:
    """Return the brackets outside of strings, with `[` for `{` and `]` for `}`.

    Raises BadRequest for more than `most_strings` strings with brackets in them.
    """
    if b"\\" in body:
        # Escaped backslashes are removed first, because a quote after an escaped backslash ends the string.
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    marks = body.translate(_BRACKETS, _ALL_BUT_BRACKETS_AND_QUOTES)
    # Two adjacent quotes have no bracket between them, so removing the pair does not change which brackets are in strings.
    marks = marks.replace(b'""', b"")
    if marks.count(b'"') > 2 * most_strings:
        raise BadRequest(f"The body holds more than {most_strings} strings with brackets in them")
    return b"".join(marks.split(b'"')[::2])
