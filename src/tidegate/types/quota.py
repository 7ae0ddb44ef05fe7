"""Quotas, keys and money as data. Structs, not behaviour."""

from __future__ import annotations

import msgspec

from tidegate.types.answer import Usage
from tidegate.types.caller import Caller


class Want(msgspec.Struct, frozen=True):
    """An amount asked of one bucket, such as `team:blue/tokens/min`, that holds `capacity` and refills at `per_s`."""

    bucket: str
    amount: int
    capacity: int
    per_s: float


class Ticket(msgspec.Struct, frozen=True):
    """Quota reserved for a call, to be settled once with what it really used.

    `left` and `resets_s` have one figure for each want: what remains, and the seconds until the bucket is full again.
    """

    id: str
    wants: tuple[Want, ...]
    left: tuple[int, ...]
    resets_s: tuple[float, ...]


class Secret(msgspec.Struct, frozen=True):
    """One secret of a key as a store keeps it: a digest, and until when it is valid (seconds since the epoch)."""

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
