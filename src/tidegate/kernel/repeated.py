"""Finds objects in JSON that repeat a key. Parsers differ in which of the values they take (RFC 8259, section 4).

The check compares the number of colons outside of strings, one per member, with the number of keys after parsing. If there
are more colons than keys, a key is repeated.
"""

from __future__ import annotations

from typing import Any, cast

_ALL_BUT_COLONS_AND_QUOTES = bytes(set(range(256)) - set(b':"'))


def repeats_key(raw: bytes, value: Any) -> bool:
    """Return whether an object in the JSON `raw` repeats a key. `value` is what `raw` was parsed to."""
    return colons(raw) != _members(value)


def colons(raw: bytes) -> int:
    """Count the colons outside of strings."""
    if b"\\" in raw:
        # Escaped backslashes are removed first, because a quote after an escaped backslash ends the string.
        raw = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    marks = raw.translate(None, _ALL_BUT_COLONS_AND_QUOTES).replace(b'""', b"")
    if b'"' not in marks:
        return len(marks)
    return sum(map(len, marks.split(b'"')[::2]))


def _members(value: Any) -> int:
    """Count the keys of all objects in a value."""
    count, rest = 0, [value]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            inner = cast("dict[str, Any]", one)
            count += len(inner)
            rest += inner.values()
        elif isinstance(one, list):
            rest += cast("list[Any]", one)
    return count
