"""Quotas, keys and money as data. Structs, not behaviour."""

from __future__ import annotations

import msgspec

from tidegate.types.answer import Usage
from tidegate.types.caller import Caller


class Want(msgspec.Struct, frozen=True):
    """An amount requested from one bucket, such as `team:blue/tokens/min`.

    The bucket holds up to `capacity` and refills by `per_s` each second.
    """

    bucket: str
    amount: int
    capacity: int
    per_s: float


class Ticket(msgspec.Struct, frozen=True):
    """Quota reserved for a call. It is settled once, with the amounts that the call has used.

    `left` and `resets_s` have one figure for each want: the amount left in the bucket, and the seconds until the bucket is
    full again.
    """

    id: str
    wants: tuple[Want, ...]
    left: tuple[int, ...]
    resets_s: tuple[float, ...]


class Secret(msgspec.Struct, frozen=True):
    """One secret of a key in the form that a store keeps: its digest, and when it expires (seconds since the epoch)."""

    digest: bytes
    expires_at: float | None = None


class Key(msgspec.Struct, frozen=True):
    """An API key. Two secrets can be valid at once, while the first is being replaced. `version` counts its changes."""

    id: str
    secrets: tuple[Secret, ...]
    caller: Caller
    policy: str
    scopes: frozenset[str]
    expires_at: float | None
    version: int


class Intent(msgspec.Struct, frozen=True):
    """The ledger's entry for a call before any engine is asked. `at` is in seconds since the epoch."""

    call_id: str
    caller: Caller
    policy: str
    model: str
    at: float


class Settlement(msgspec.Struct, frozen=True):
    """The ledger's entry for the end of a call.

    `spent` has the purpose, the model and the reported usage of each engine call. `at` is in seconds since the epoch.
    """

    call_id: str
    outcome: str
    spent: tuple[tuple[str, str, Usage | None], ...]
    at: float
