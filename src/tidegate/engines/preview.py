"""Previews of the request that an engine would get, without sending it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from tidegate.types import Ask

MASK = "**********"
"""Replaces a secret, as in all printed configurations."""


class Outgoing(msgspec.Struct, frozen=True):
    """One HTTP request as it would be sent, with the headers in the order of sending. Secrets in `headers` are masked.

    `body` has the exact bytes that the engine would get. `notes` name the parts that are only known while the engine runs.
    """

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: msgspec.Raw
    notes: list[str] = []


@runtime_checkable
class Preview(Protocol):
    """An engine that can show the request it would send. Engines in the gateway's process send none and lack this."""

    def outgoing(self, ask: Ask) -> Outgoing:
        """Return the request that `stream` would send. This needs neither a call of `open` nor a running engine."""
        ...
