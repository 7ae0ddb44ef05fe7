"""The places in a JSON document: paths, their names for people, and documents with other values at some paths."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast

import msgspec


class Key(NamedTuple):
    """The name of a member itself, as the last step of a path. A path to the member's value has the name as a `str`."""

    name: str


Path = tuple[str | int | Key, ...]
"""The steps from the document to a value: names of members, and positions in lists."""

MAX_DEPTH = 100
"""A change below this depth replaces the whole value at this depth, so that the recursion is bounded."""
_LONGEST_NAME = 40
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_ENCODER = msgspec.json.Encoder()


def step(channel: str, name: str, position: int) -> str:
    """Return the channel of a member: `channel.name`.

    A name that may be free text is replaced by its position in braces, so that channels can be logged.
    """
    if len(name) > _LONGEST_NAME or not name.isidentifier():
        name = f"{{{position}}}"
    return f"{channel}.{name}" if channel else name


def rewritten(document: bytes | msgspec.Raw, changes: Mapping[Path, Any]) -> bytes:
    """Return the JSON document with other values at some paths.

    Everything else keeps its order and its bytes, white space between members aside. Of a repeated key, the last one stays.
    Raises msgspec.DecodeError for a document that is not valid JSON, and KeyError if there is no such place.
    """
    return _rewritten(document, {path[:MAX_DEPTH]: value for path, value in changes.items()})


def _rewritten(document: bytes | msgspec.Raw, changes: Mapping[Path, Any]) -> bytes:
    if () in changes:
        return _ENCODER.encode(changes[()])
    by_first: dict[str | int | Key, dict[Path, Any]] = {}
    for (first, *rest), value in changes.items():
        by_first.setdefault(first, {})[tuple(rest)] = value
    if any(type(first) is int for first in by_first):
        return _ENCODER.encode(_with_items(_ITEMS.decode(document), by_first))
    return _ENCODER.encode(_with_members(_MEMBERS.decode(document), by_first))


def _with_items(items: list[msgspec.Raw], by_first: Mapping[Any, Mapping[Path, Any]]) -> list[msgspec.Raw]:
    for at, changes in cast("Mapping[int, Mapping[Path, Any]]", by_first).items():
        items[at] = msgspec.Raw(_rewritten(items[at], changes))
    return items


def _with_members(
    members: dict[str, msgspec.Raw], by_first: Mapping[Any, Mapping[Path, Any]]
) -> dict[str, msgspec.Raw]:
    renamed: dict[str, str] = {}
    for first, changes in by_first.items():
        if type(first) is Key:
            renamed[first.name] = changes[()]
        else:
            members[first] = msgspec.Raw(_rewritten(members[first], changes))
    if not renamed:
        return members
    kept = members.keys() - renamed.keys()
    result: dict[str, msgspec.Raw] = {}
    for name, member in members.items():
        new = name if name in kept else _free(renamed[name], {*kept, *result})
        result[new] = member
    return result


def _free(name: str, taken: Collection[str]) -> str:
    """Return the name, with a number if it is taken: two names may get the same mask."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} {number}"
    return free
