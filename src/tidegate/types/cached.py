"""The entries of caches. Structs, not behaviour."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tidegate.types.answer import Usage


class Entry(msgspec.Struct, frozen=True):
    """A stored answer: the JSON of its pieces, its token counts, and the id of its call.

    `stored_at` is in seconds since the epoch. `tags` name the model, prompt, policy or user that the entry depends on. If
    one of them changes, the entry is no longer valid.
    """

    pieces: tuple[bytes, ...]
    usage: Usage | None
    call_id: str
    stored_at: float
    tags: frozenset[str] = frozenset()


class Neighbour(NamedTuple):
    """An entry close to a given vector: its key, its text, and the cosine between its vector and the given one."""

    key: bytes
    text: str
    cosine: float
