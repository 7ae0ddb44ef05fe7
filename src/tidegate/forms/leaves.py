"""The texts in a text that is itself a JSON document, such as the arguments of a tool call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tidegate.forms.paths import Path, rewritten
from tidegate.forms.shapes import LEAVES, Finds
from tidegate.kernel.repeated import repeats_key
from tidegate.kernel.surrogates import without_lone


class Leaf(NamedTuple):
    """One text in a JSON document, decoded. The path is empty for the whole text."""

    path: Path
    value: str


def leaves(text: str) -> list[Leaf]:
    """Return the texts in a JSON document: each string, each name of a member, each number of seven digits or more.

    A text that is not valid JSON is one leaf. So is one that repeats a key, in addition to its own leaves, because readers
    differ in which of the values they take.
    """
    read = _read(text)
    if read is None:
        return [Leaf((), text)]
    document, value = read
    finds = Finds()
    LEAVES.find(value, (), "", finds)
    found = [Leaf(one.path, one.value) for one in finds.parts]
    if repeats_key(document, value):
        found.append(Leaf((), text))
    return found


def with_leaves(text: str, changed: Mapping[Path, str]) -> str:
    """Return the document with other texts at some paths. What is not changed keeps its bytes, white space aside.

    A number that is changed becomes a string. Raises KeyError if there is no such place.
    """
    if not changed:
        return text
    read = _read(text)
    if read is None or (() in changed and repeats_key(*read)):
        return changed[()]
    return rewritten(read[0], changed).decode()


def _read(text: str) -> tuple[bytes, Any] | None:
    """Return the document and its value, or None for a text that is not valid JSON or is nested too deeply to be read."""
    document = text.encode(errors="replace")
    try:
        return document, msgspec.json.decode(document)
    except RecursionError:
        return None
    except msgspec.DecodeError:
        document = without_lone(document)
    try:
        return document, msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError):
        return None
