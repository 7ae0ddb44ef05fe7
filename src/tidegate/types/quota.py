"""Quotas, keys and money as data. Structs, not behaviour."""

from __future__ import annotations

import enum

import msgspec

from tidegate.types.answer import Usage
from tidegate.types.caller import Caller


class Per(enum.Enum):
    """The time that a limit is for."""

    MINUTE = "minute"
    """Tokens of a bucket that refills continuously."""
    DAY = "day"
    MONTH = "month"
    """A count that begins anew with each calendar day or month in the limit's zone."""
    CALL = "call"
    """A number that is in use at the same time: given back when the call ends, whatever it has used."""


class Limit(msgspec.Struct, frozen=True):
    """One limit of one tenant. Limits are made with the snapshot; `bucket` identifies what was consumed across reloads.

    `level` is the kind of tenant, such as `team`, and `tenant` its name. `dimension` is the setting that an operator knows,
    such as `tokens_per_minute`. `most` is its value, in requests, tokens, calls, or micro-USD where `money` is true.
    `burst` is the capacity of a bucket for a minute; 0 means `most`. `zone` is the IANA name of the zone of a day or month.
    A limit without `enforce` counts and refuses nothing.
    """

    level: str
    tenant: str
    dimension: str
    most: int
    per: Per = Per.MINUTE
    burst: int = 0
    zone: str = "UTC"
    money: bool = False
    enforce: bool = True
    bucket: str = ""

    def __post_init__(self) -> None:
        if not self.bucket:
            msgspec.structs.force_setattr(self, "bucket", f"{self.level}:{self.tenant}/{self.dimension}")


class Want(msgspec.Struct, frozen=True):
    """An amount asked of one limit."""

    limit: Limit
    amount: int


class Ticket(msgspec.Struct, frozen=True):
    """Quota reserved for a call, to be settled once with what it really used.

    `left` and `resets_s` have one figure for each want: what remains (negative in debt), and the seconds until the limit
    has its full amount again. `over` has the wants that exceeded a limit without `enforce`.
    """

    id: str
    wants: tuple[Want, ...]
    left: tuple[int, ...]
    resets_s: tuple[float, ...]
    over: tuple[Want, ...] = ()


class Consumption(msgspec.Struct, frozen=True):
    """What is consumed of one limit now. `since` is the start of the day or month, in seconds since the epoch, or 0."""

    limit: Limit
    used: int
    left: int
    resets_s: float
    since: int = 0


class Secret(msgspec.Struct, frozen=True):
    """One secret of a key as a store keeps it: a digest, and until when it is valid (seconds since the epoch)."""

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
    """What the ledger notes of a call before any engine is asked. `at` is in seconds since the epoch."""

    call_id: str
    caller: Caller
    policy: str
    model: str
    at: float


class Settlement(msgspec.Struct, frozen=True):
    """How a call ended, for the ledger: what each engine reported, by purpose and model. `at` is seconds of the epoch."""

    call_id: str
    outcome: str
    spent: tuple[tuple[str, str, Usage | None], ...]
    at: float
