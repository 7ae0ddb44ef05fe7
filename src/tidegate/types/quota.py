"""Quotas, keys and money as data. Structs, not behaviour."""

from __future__ import annotations

import enum
from collections.abc import Sequence

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


class Unit(enum.IntEnum):
    """What a limit counts. The value is the place of the unit's amount in `Amounts`."""

    CALLS = 0
    TOKENS = 1
    MONEY = 2


Amounts = tuple[int, int, int]
"""What a call needs, or has used: calls, tokens, and micro-USD."""


class Limit(msgspec.Struct, frozen=True):
    """One limit of one tenant. Limits are made with the snapshot; `bucket` identifies what was consumed across reloads.

    `level` is the kind of tenant, such as `team`, and `tenant` its name. `dimension` is the setting that an operator knows,
    such as `tokens_per_minute`. `most` is its value, in requests, tokens, calls, or micro-USD where `money` is true.
    `burst` is the capacity of a bucket for a minute; 0 means `most`. `zone` is the IANA name of the zone of a day or month.
    A limit without `enforce` counts and refuses nothing. `within` is the key of an end user: the end users of one key have
    a bounded part of the room in which a limiter counts.

    `generation` orders the limits of one bucket: the snapshot that made them, and their place in it. Calls of an older
    snapshot end later than its successor begins, and their limits never replace newer ones.
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
    within: str = ""
    generation: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if not self.bucket:
            msgspec.structs.force_setattr(self, "bucket", f"{self.level}:{self.tenant}/{self.dimension}")


class Ticket(msgspec.Struct, frozen=True):
    """Quota reserved for a call. It is settled once, with the amounts that the call has used.

    `amounts` and `left` have one figure for each limit: what was reserved, and what remains, negative in debt. `until` is
    when the reservation expires, in seconds of the clock. `over` has the limits without `enforce` that were exceeded.
    """

    id: str
    limits: tuple[Limit, ...]
    amounts: Sequence[int]
    left: tuple[int, ...]
    until: float
    over: tuple[Limit, ...] = ()


class Consumption(msgspec.Struct, frozen=True):
    """What is consumed of one limit now. `since` is the start of the day or month, in seconds since the epoch, or 0."""

    limit: Limit
    used: int
    left: int
    resets_s: float
    since: int = 0


class PeriodCount(msgspec.Struct, frozen=True):
    """What was used of one limit in one day or month, as a store keeps it.

    `bucket` is that of the limit. The period begins at `since` and ends before `until`, in seconds since the epoch.
    """

    bucket: str
    since: int
    until: int
    used: int


class Secret(msgspec.Struct, frozen=True):
    """One secret of a key in the form that a store keeps: its digest, and when it expires (seconds since the epoch)."""

    digest: bytes
    expires_at: float | None = None

    def __repr__(self) -> str:
        return f"Secret(expires_at={self.expires_at})"  # a log has no use for the digest


class Tenant(msgspec.Struct, frozen=True):
    """An organisation, a team of one or a user of a team, and the policy that it names; "" if it names none.

    `team` is empty for an organisation, and `user` is empty for an organisation and for a team. A user may also belong to
    an organisation without a team.
    """

    organisation: str
    team: str = ""
    user: str = ""
    policy: str = ""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key. Two secrets can be valid at once, while the older one is being replaced; the newest is first.

    `caller` has the tenants and the scopes of the key. `models` narrows the models that the policy allows; None leaves all
    of them. `version` counts the changes of the key and starts at 1. All times are in seconds since the epoch.

    A store fills in two fields when it is asked for a key, and ignores them when it saves one: `used_at`, the time of the
    last use, which is written late, and `above`, the tenants of the key that the store knows, the user first.
    """

    id: str
    secrets: tuple[Secret, ...]
    caller: Caller
    name: str = ""
    policy: str = ""
    models: tuple[str, ...] | None = None
    created_at: float = 0.0
    expires_at: float | None = None
    revoked_at: float | None = None
    version: int = 1
    used_at: float | None = None
    above: tuple[Tenant, ...] = ()


class Change(msgspec.Struct, frozen=True):
    """One line of the admin log: what was changed, when (seconds since the epoch) and by whom.

    `number` grows with each line. `subject` is the id of a key, or a tenant written as `acme/blue/ann`. `detail` is the
    state after the change as JSON, without digests.
    """

    number: int
    at: float
    by: str
    action: str
    subject: str
    detail: str


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
