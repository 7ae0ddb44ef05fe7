"""The caller of a call and its purpose. Structs, not behaviour."""

from __future__ import annotations

import msgspec

from tidegate.types.record import Spent

ANSWER = "answer"
"""The purpose of a client's own call, and of every engine call that can become its answer."""

FAILED = "failed"
"""The purpose of an engine call that failed and was made up for by another one. The house pays for it."""

CONTINUED = "continued"
"""The purpose of an engine call that goes on with an answer. Its prompt is paid by the house, its text by the caller."""
HEDGE = "hedge"
"""The purpose of an engine call that runs beside another one for the same answer and has not won. The house pays for it."""

INFERENCE = "inference"
"""The scope of calls: chat completions and their like, and the lists of models."""
CHECKS = "checks"
"""The scope of checks: texts that rails check for a client, without an engine."""
ADMIN_READ = "admin:read"
"""The scope of everything that shows how the gateway works and changes nothing."""
ADMIN_WRITE = "admin:write"
"""The scope of everything that changes the gateway."""
REVIEW = "review"
"""The scope of reviewers, who read texts of calls and decide about them."""
METRICS = "metrics"
"""The scope of the metrics."""


class Caller(msgspec.Struct, frozen=True):
    """The owner of a call: its key by name, and the tenants of that. All fields are empty for an anonymous caller.

    `scopes` says what the caller may do: see the constants above.
    """

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
