"""What caches keep. Structs, not behaviour."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tidegate.types.answer import Usage


class Entry(msgspec.Struct, frozen=True):
    """A stored answer: the JSON of its pieces, its cost, and the owner of the call.

    `stored_at` is in seconds since the epoch. `tags` name what would make it wrong: a model, a prompt, a policy, a user.
    """

    pieces: tuple[bytes, ...]
    usage: Usage | None
    call_id: str
    stored_at: float
    tags: frozenset[str] = frozenset()


class Neighbour(NamedTuple):
    """An entry near to a vector: its key, its text, and the cosine between the two."""

    key: bytes
    text: str
    cosine: float
