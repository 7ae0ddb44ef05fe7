"""Who calls, and what for. Structs, not behaviour."""

from __future__ import annotations

import msgspec

from tidegate.types.record import Spent

ANSWER = "answer"
"""The purpose of a client's own call, and of every engine call that can become its answer."""


class Caller(msgspec.Struct, frozen=True):
    """Whom a call belongs to. Empty strings: nobody is known, because nothing authenticates."""

    key: str = ""
    user: str = ""
    team: str = ""
    organisation: str = ""
    scopes: frozenset[str] = frozenset()


class Parent(msgspec.Struct, frozen=True):
    """The call on whose behalf the gateway makes a call of its own. Its `spent` takes the entries of both."""

    call_id: str
    caller: Caller
    deadline: float
    spent: list[Spent]
