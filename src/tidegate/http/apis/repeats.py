"""Refuses a key that is repeated in an object: the gateway would read the last value, the engine perhaps the first.

A request body is rebuilt from its top-level fields, so only the messages, which are passed on unchanged, have to be
checked. The check compares the number of colons in the raw text, one per
member, with the number of keys after parsing. If there are more colons than keys, a key is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from tidegate.errors import BadRequest
from tidegate.types import ChatMessage

_ALL_BUT_COLONS_AND_QUOTES = bytes(set(range(256)) - set(b':"'))


def check_repeated_keys(raw: bytes, messages: Sequence[ChatMessage], *, before: int = 0) -> None:
    """Raise BadRequest if an object in the messages repeats a key.

    `raw` is the JSON of `messages`. `before` is the number of messages that precede these in the request.
    """
    # Most messages have a role and a text and nothing else.
    if all(type(message.content) is str for message in messages):
        expected = 2 * len(messages)
        if raw.count(b":") == expected or _colons(raw) == expected:
            return
    for at, message in enumerate(msgspec.json.decode(raw, type=list[msgspec.Raw]), before):
        one = bytes(message)
        if _colons(one) != _members(msgspec.json.decode(one)):
            raise BadRequest(
                f"An object in 'messages[{at}]' has a key twice; give it once", param=f"messages[{at}]"
            )


def _colons(raw: bytes) -> int:
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
