"""What the gateway makes of a key before it reads the body of a request: the policy that applies, or the refusal."""

from __future__ import annotations

import msgspec

from tidegate.access.administration import date, state
from tidegate.access.directory import NOT_VALID
from tidegate.config import Config
from tidegate.errors import Forbidden, GatewayError, Unauthenticated
from tidegate.policy import Policies, Policy
from tidegate.stages.authenticate import check_scope
from tidegate.types import Caller, Key
from tidegate.types.caller import INFERENCE

# Names the tenant of the limits that the policy `default` sets for each key.
_ANY_KEY = Key(id="", secrets=(), caller=Caller(key="of the caller"))
_NO_KEY = "no key was given, so the gateway would answer 401; the rest is shown for a key under the policy 'default'"
_NEEDLESS = "this gateway serves calls without a key, and does not look at the key"


class Refusal(msgspec.Struct, frozen=True):
    """The error a client would get, as the gateway words it.

    The status 200 stands for an answer of the gateway's own, by which a profile of rails refuses a blocked request.
    """

    status: int
    message: str
    type: str
    code: str
    param: str | None

    @classmethod
    def of(cls, error: GatewayError) -> Refusal:
        """An error of the request path."""
        return cls(error.status, error.message, error.type, error.code, error.param)


class Admission(msgspec.Struct, frozen=True):
    """What the stage `authenticate` makes of a call: its policy, or None if the call is refused. `note` is for people."""

    policy: Policy | None
    note: str = ""
    refused: Refusal | None = None


def admit(config: Config, policies: Policies, key: Key | None, now: float) -> Admission:
    """Return what the gateway makes of a call with this key at `now`, in seconds since the epoch."""
    if not config.has_keys:
        return Admission(policies.default, _NEEDLESS if key is not None else "")
    if key is None:
        return Admission(policies.of(_ANY_KEY), _NO_KEY)
    refused = refusal(policies, key, now)
    if refused is None:
        try:
            check_scope(INFERENCE, key.caller)
        except Forbidden as error:
            refused = Refusal.of(error)
    if refused is None:
        return Admission(policies.of(key))
    why = "" if state(key, now) == "valid" else f": the key is {in_words(key, now)}"
    return Admission(None, f"{refused.message}{why}", refused)


def refusal(policies: Policies, key: Key, now: float) -> Refusal | None:
    """Return why no route accepts a key at `now`, in seconds since the epoch. None if the key is accepted."""
    if state(key, now) != "valid":
        return Refusal.of(Unauthenticated(NOT_VALID))
    try:
        policies.of(key)
    except Forbidden as error:
        return Refusal.of(error)
    return None


def in_words(key: Key, now: float) -> str:
    """Return the state of a key with its time."""
    found = state(key, now)
    if found == "revoked":
        return f"revoked at {date(key.revoked_at)}"
    if found == "expired":
        return f"expired since {date(key.expires_at)}"
    return found if key.expires_at is None else f"valid, expires {date(key.expires_at)}"
