"""What a caller may do and what applies to it, compiled once a snapshot. A call holds exactly one policy."""

from __future__ import annotations

import msgspec

DEFAULT = "default"
"""The name of the policy that is built in."""


class Policy(msgspec.Struct, frozen=True):
    """A named set of rights and defaults.

    `max_body_bytes` is the largest request body. `deadline_s` is the longest time a call may take. `digest` changes with
    whatever could change an answer; it belongs into the keys of caches.
    """

    name: str = DEFAULT
    max_body_bytes: int = 32 * 2**20
    deadline_s: float = 600.0
    digest: bytes = b""
