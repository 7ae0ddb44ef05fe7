"""Texts within a JSON document, such as the arguments of a tool call."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import msgspec

_DEPTH = 200
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


class TooDeep(ValueError):
    """A document is nested too deeply for its texts to be listed."""


def texts_within(document: str) -> list[str]:
    """Return the texts in a JSON document: its keys, and its values that are strings. What is not JSON is itself one text.

    Raises TooDeep.
    """
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    rewritten(document, note)
    return found


def rewritten(document: str, change: Callable[[str], str]) -> str:
    """Return a JSON document with each of its texts changed. It stays byte for byte if no text changes.

    What is not JSON is changed as one text. A document that has a key twice is encoded again without the values that are
    not checked, which are all but the last. Raises TooDeep.
    """
    try:
        value = msgspec.json.decode(document)
        leaves = _Leaves(change)
        after = leaves.changed(value, _DEPTH)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return change(document)
    except RecursionError as error:
        raise TooDeep("the document is nested too deeply") from error
    if after == value and _STRING.sub("", document).count(":") == leaves.keys:
        return document
    return msgspec.json.encode(after).decode()


class _Leaves:
    """Changes the texts of a decoded document, and counts its keys."""

    def __init__(self, change: Callable[[str], str]) -> None:
        self._change = change
        self.keys = 0

    def changed(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._change(value)
        if not isinstance(value, (list, dict)):
            return value
        if depth == 0:
            raise RecursionError
        if isinstance(value, list):
            return [self.changed(one, depth - 1) for one in cast("list[Any]", value)]
        pairs = cast("dict[str, Any]", value)
        self.keys += len(pairs)
        return {self._change(key): self.changed(one, depth - 1) for key, one in pairs.items()}
