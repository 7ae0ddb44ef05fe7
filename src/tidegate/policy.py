"""Policies: the rights and limits of a caller, compiled once for each snapshot. A call holds exactly one policy."""

from __future__ import annotations

import msgspec

DEFAULT = "default"
"""The name of the built-in policy."""


class Policy(msgspec.Struct, frozen=True):
    """A named set of rights and defaults.

    `max_body_bytes` is the largest request body. `deadline_s` is the longest time a call may take. `digest` changes
    whenever a setting changes that can change an answer; cache keys have to contain it.
    """

    name: str = DEFAULT
    max_body_bytes: int = 32 * 2**20
    deadline_s: float = 600.0
    digest: bytes = b""
