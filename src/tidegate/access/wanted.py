"""What can be wanted of the keys and tenants in a store, and what is wrong with it: the field, and the fix."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

import msgspec

from tidegate.config.policies import check_pattern
from tidegate.errors import BadRequest
from tidegate.types import Tenant
from tidegate.types.caller import ADMIN_READ, ADMIN_WRITE, CHECKS, INFERENCE, METRICS, REVIEW

SCOPES = (INFERENCE, CHECKS, ADMIN_READ, ADMIN_WRITE, REVIEW, METRICS)
DAY_S = 86400.0
LONGEST_S = 100 * 366 * DAY_S
"""The longest time that a key can be valid for. Without a time it is valid until it is revoked."""
LONGEST_TEXT = 200
MOST_MODELS = 1000

_ABOVE: Mapping[str, str] = MappingProxyType({"team": "organisation", "user": "organisation"})


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to be made. An empty text means none. `models` narrows what the policy allows; None leaves all of it."""

    name: str = ""
    organisation: str = ""
    team: str = ""
    user: str = ""
    policy: str = ""
    models: tuple[str, ...] | None = None
    scopes: tuple[str, ...] = (INFERENCE,)
    expires_in_s: float | None = None

    def check(self, policies: Collection[str] | None) -> None:
        """Raise BadRequest for the first field that is wrong. `policies` are those there are; None: not known."""
        _check_texts(msgspec.structs.asdict(self), ("name", "organisation", "team", "user", "policy"))
        check_tenant(self.organisation, self.team, self.user)
        check_policy(self.policy, policies)
        _check_models(self.models)
        _check_scopes(self.scopes)
        if self.expires_in_s is not None and not 0 < self.expires_in_s <= LONGEST_S:
            raise wrong("expires_in_s", f"must be more than 0 and at most {LONGEST_S:.0f} seconds")


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new secret for a key. The old one stays valid for `overlap_s`. `force` ends one that is older still."""

    overlap_s: float = DAY_S
    force: bool = False

    def check(self) -> None:
        """Raise BadRequest for a field that is wrong."""
        if not 0 <= self.overlap_s <= LONGEST_S:
            raise wrong("overlap_s", f"must be 0 or more and at most {LONGEST_S:.0f} seconds")


class NewTenant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant to be made, or to be given another policy. An empty `policy` means that the tenant above decides."""

    organisation: str
    team: str = ""
    user: str = ""
    policy: str = ""

    def check(self, policies: Collection[str] | None) -> Tenant:
        """Return the tenant. Raises BadRequest for the first field that is wrong; see `NewKey.check`."""
        _check_texts(msgspec.structs.asdict(self), ("organisation", "team", "user", "policy"))
        if not self.organisation:
            raise wrong("organisation", "is empty: name the organisation")
        check_policy(self.policy, policies)
        return Tenant(self.organisation, self.team, self.user, self.policy)


def check_tenant(organisation: str, team: str, user: str) -> None:
    """Raise BadRequest for a team or a user without an organisation."""
    if organisation:
        return
    for field, value in (("team", team), ("user", user)):
        if value:
            raise wrong(field, f"needs the {_ABOVE[field]}: name that too")


def check_policy(policy: str, policies: Collection[str] | None) -> None:
    """Raise BadRequest for a policy that is not among those there are."""
    if policy and policies is not None and policy not in policies:
        raise wrong(
            "policy", f"names no policy: there is no '{policy}'; there are: {', '.join(sorted(policies))}"
        )


def wrong(field: str, words: str) -> BadRequest:
    """Return the error for a field that is wrong."""
    return BadRequest(f"The field '{field}' {words}", param=field)


def _check_texts(values: Mapping[str, object], fields: Collection[str]) -> None:
    for field in fields:
        text = values[field]
        assert isinstance(text, str)
        if len(text) > LONGEST_TEXT:
            raise wrong(field, f"is longer than {LONGEST_TEXT} characters")
        if not text.isprintable() or text != text.strip():
            raise wrong(field, "has characters that cannot be seen, or spaces around it: leave them out")
        if field in {"organisation", "team", "user"} and "/" in text:
            raise wrong(field, "must not have a '/': it divides the names of tenants")


def _check_models(models: Collection[str] | None) -> None:
    if models is None:
        return
    if not models:
        raise wrong("models", "is empty: name a model, or leave the field out for all models")
    if len(models) > MOST_MODELS:
        raise wrong("models", f"has more than {MOST_MODELS} entries: use '*' for many")
    for model in models:
        try:
            check_pattern(model)
        except ValueError as error:
            raise wrong("models", f"has '{model}': {error}") from error


def _check_scopes(scopes: Collection[str]) -> None:
    if not scopes:
        raise wrong("scopes", f"is empty: name at least one of {', '.join(SCOPES)}")
    if unknown := set(scopes) - set(SCOPES):
        raise wrong("scopes", f"has no scope '{min(unknown)}' to give; there are: {', '.join(SCOPES)}")
