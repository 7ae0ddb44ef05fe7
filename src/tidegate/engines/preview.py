"""Previews: the request that an engine would be sent, without sending it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from tidegate.types import Ask

MASK = "**********"
"""Stands for a secret, as it does in every place that prints the configuration."""


class Outgoing(msgspec.Struct, frozen=True):
    """One HTTP request as it would go out, in the order of the wire; `headers` have their secrets masked already.

    `body` is byte for byte what the engine gets. `notes` name the parts that are only known while the engine runs.
    """

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: msgspec.Raw
    notes: list[str] = []


@runtime_checkable
class Preview(Protocol):
    """An engine that can tell what it would send. Those that answer in the gateway's process send nothing and have none."""

    def outgoing(self, ask: Ask) -> Outgoing:
        """What `stream` would send. Pure: it needs no `open` and no engine."""
        ...
