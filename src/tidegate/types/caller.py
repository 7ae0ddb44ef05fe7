"""The caller of a call and its purpose. Structs, not behaviour."""

from __future__ import annotations

import msgspec

from tidegate.types.record import Spent

ANSWER = "answer"
"""The purpose of a client's own call, and of every engine call that can become its answer."""


class Caller(msgspec.Struct, frozen=True):
    """The owner of a call. All fields are empty for an anonymous caller."""

    key: str = ""
    user: str = ""
    team: str = ""
    organisation: str = ""
    scopes: frozenset[str] = frozenset()


class Parent(msgspec.Struct, frozen=True):
    """The call for which an internal call is made. `spent` gets the entries of both calls."""

    call_id: str
    caller: Caller
    deadline: float
    spent: list[Spent]
