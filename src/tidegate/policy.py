"""Policies: the rights and limits of a caller, compiled once for each snapshot. A call holds exactly one policy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from tidegate.config import Config, LimitsConfig, PolicyConfig, ServerConfig, digest
from tidegate.errors import Forbidden
from tidegate.kernel.patterns import Patterns
from tidegate.types import Caller, Key

DEFAULT = "default"
"""The name of the policy of callers for whom no policy is named; it exists without being configured."""

PRIORITIES: Mapping[str, int] = MappingProxyType({"interactive": -1, "default": 0, "batch": 1})
"""The number of each class of calls: the lower one goes first."""
# What says who calls and what they may do, and never changes an answer; a policy's own section is added to each digest.
_NOT_ANSWERS = ("admin", "auth", "keys", "organisations", "policies", "stores")
# So many keys have their policy at hand; the store may know more.
MOST_KEYS = 10_000

Tenant = tuple[str, str, str]
"""An organisation, a team and a user; the lower ones are empty for a tenant above them."""


class Policy(msgspec.Struct, frozen=True):
    """A named set of rights and defaults.

    `models` are the models that may be asked for; None allows all. `max_body_bytes` is the largest request body.
    `deadline_s` is the longest time a call may take. `priority` is a number of `PRIORITIES`. `max_tokens` is the length of
    an answer where the request names none; None leaves that to the engine. `limits`, `limits_by_model` and
    `end_user_limits` bound who names the policy; `on_limit`, `enforce`, `strict`, `count`, `internal_calls` and `timezone`
    are the settings of the same names. `digest` changes whenever a setting changes that can change an answer; cache keys
    have to contain it.
    """

    name: str = DEFAULT
    max_body_bytes: int = 32 * 2**20
    deadline_s: float = 600.0
    digest: bytes = b""
    models: Patterns | None = None
    priority: int = 0
    max_tokens: int | None = None
    limits: LimitsConfig = LimitsConfig()
    limits_by_model: Mapping[str, LimitsConfig] = MappingProxyType({})
    end_user_limits: LimitsConfig | None = None
    on_limit: str = "refuse"
    enforce: bool = True
    strict: bool = False
    count: str = "estimate"
    internal_calls: str = "house"
    timezone: str = "UTC"


class Policies:
    """The policies of a snapshot: by name, and by the tenants that name one."""

    def __init__(
        self, named: Mapping[str, Policy], tenants: Mapping[Tenant, str] = MappingProxyType({})
    ) -> None:
        """`named` has the policy `default`; `tenants` has the name of a policy for each tenant that names one."""
        self.named = named
        self.default = named[DEFAULT]
        self.house = msgspec.structs.replace(self.default, models=None)
        """The policy of the gateway's own calls."""
        self._tenants = tenants
        self._of: dict[str, tuple[Key, Policy]] = {}

    def of(self, key: Key) -> Policy:
        """The policy of a key: the nearest one, narrowed to the models of the key. One look-up for a key seen before.

        Raises Forbidden for a key of the store that names a policy which is not configured.
        """
        found = self._of.get(key.id)
        if found is not None and found[0] is key:
            return found[1]
        _, name = self.nearest(key)
        policy = self.named.get(name)
        if policy is None:
            raise Forbidden(
                f"The policy '{name}' of this key does not exist; the operator has to configure it"
            )
        if key.models is not None:
            own = Patterns(key.models)
            models = own if policy.models is None else own & policy.models
            policy = msgspec.structs.replace(policy, models=models)
        if len(self._of) >= MOST_KEYS:
            self._of.clear()
        self._of[key.id] = key, policy
        return policy

    def nearest(self, key: Key) -> tuple[str, str]:
        """Who names the policy of a key, and the name: `key`, `user`, `team`, `organisation`, or `` for nobody."""
        if key.policy:
            return "key", key.policy
        stored = {(one.organisation, one.team, one.user): one.policy for one in key.above}
        for level, tenant in _above(key.caller):
            if name := stored.get(tenant) or self._tenants.get(tenant):
                return level, name
        return "", DEFAULT


def _above(caller: Caller) -> Iterator[tuple[str, Tenant]]:
    """The tenants of a caller, the nearest first."""
    organisation, team, user = caller.organisation, caller.team, caller.user
    if user:
        yield "user", (organisation, team, user)
    if team:
        yield "team", (organisation, team, "")
    if organisation:
        yield "organisation", (organisation, "", "")


def compile_policies(config: Config, server: ServerConfig) -> Policies:
    """The policies of a configuration. `server` are the server's settings in force."""
    answers = digest(config, without=_NOT_ANSWERS)
    sections = {DEFAULT: PolicyConfig(), **config.policies}
    named = {name: _compiled(name, section, server, answers) for name, section in sections.items()}
    return Policies(named, dict(_naming(config)))


def _naming(config: Config) -> Iterator[tuple[Tenant, str]]:
    for organisation, settings in config.organisations.items():
        if settings.policy:
            yield (organisation, "", ""), settings.policy
        for team, members in settings.teams.items():
            if members.policy:
                yield (organisation, team, ""), members.policy
            for user, own in members.users.items():
                if own.policy:
                    yield (organisation, team, user), own.policy


def _compiled(name: str, section: PolicyConfig, server: ServerConfig, answers: str) -> Policy:
    defaults = section.defaults
    models = Patterns(section.models)
    return Policy(
        name,
        max_body_bytes=min(defaults.max_body_bytes or server.max_body_bytes, server.max_body_bytes),
        deadline_s=min(defaults.deadline_s or server.call_deadline_s, server.call_deadline_s),
        digest=hashlib.sha256(f"{answers} {digest(section)}".encode()).digest(),
        models=None if models.listed == ("*",) else models,
        priority=PRIORITIES[defaults.priority],
        max_tokens=defaults.max_tokens,
        limits=section.limits,
        limits_by_model=section.limits_by_model,
        end_user_limits=section.end_user_limits,
        on_limit=section.on_limit,
        enforce=section.enforce,
        strict=section.strict,
        count=section.count,
        internal_calls=section.internal_calls,
        timezone=section.timezone,
    )
