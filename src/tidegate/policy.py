"""Policies: the rights and limits of a caller, compiled once for each snapshot. A call holds exactly one policy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from types import MappingProxyType

import msgspec

from tidegate.config import Config, LimitsConfig, PolicyConfig, ServerConfig, digest
from tidegate.config.queue import DEFAULT_CLASS
from tidegate.config.rails import NO_RAILS
from tidegate.config.tenants import TenantNames, tenants_of
from tidegate.errors import Forbidden
from tidegate.kernel.patterns import Patterns
from tidegate.quotas.levels import END_USER, NO_LIMITS, Limits, Owner, counts_tokens, path_of
from tidegate.rails.moderators import Moderators
from tidegate.rails.plan import Plan, compile_plans
from tidegate.types import DEFAULT_PRIORITY, Caller, Key, Limit, Priority

DEFAULT = "default"
"""The name of the policy of callers for whom no policy is named; it exists without being configured."""

# What says who calls and what they may do, and never changes an answer; a policy's own section is added to each digest.
_NOT_ANSWERS = ("admin", "auth", "idempotency", "keys", "organisations", "policies", "queue", "stores")
# So many keys have their policy at hand; the store may know more.
MOST_KEYS = 10_000


class Policy(msgspec.Struct, frozen=True):
    """A named set of rights and defaults.

    `models` are the models that may be asked for; None allows all. `tags` are those that a deployment has to have.
    `max_body_bytes` is the largest request body. `deadline_s` is the longest time a call may take. `priority` is the
    class of the calls. `max_tokens` is the length of an answer where the request names none; None leaves that to the
    engine. `limits` are those that a call under this policy meets at every level. `on_limit`, `strict`, `count` and
    `internal_calls` are the settings of the same names, as are `rails` and `stricter_rails`. `plan` has the rails, and
    `stricter` those that a request may ask for instead, by name; both are empty in policies that only tell rights.
    `digest` changes whenever a setting changes that can change an answer; cache keys have to contain it.
    """

    name: str = DEFAULT
    max_body_bytes: int = 32 * 2**20
    deadline_s: float = 600.0
    digest: bytes = b""
    models: Patterns | None = None
    tags: frozenset[str] = frozenset()
    priority: Priority = DEFAULT_PRIORITY
    max_tokens: int | None = None
    limits: Limits = NO_LIMITS
    on_limit: str = "refuse"
    strict: bool = False
    count: str = "estimate"
    internal_calls: str = "house"
    rails: str = NO_RAILS
    stricter_rails: tuple[str, ...] = ()
    plan: Plan | None = None
    stricter: Mapping[str, Plan] = MappingProxyType({})


class Naming(msgspec.Struct, frozen=True):
    """A tenant that names a policy: its level (`key`, `user`, `team` or `organisation`), its own name, and the policy's."""

    level: str
    tenant: str
    policy: str


class Sections(msgspec.Struct, frozen=True):
    """The sections of a configuration that have limits: the policies by name, and the models by name.

    `generation` grows with each configuration, and `compiled` counts the callers whose limits were compiled: a key of the
    store can change while a configuration is in force.
    """

    policies: Mapping[str, PolicyConfig] = MappingProxyType({})
    models: Mapping[str, LimitsConfig] = MappingProxyType({})
    generation: int = 0
    known: dict[str, Limit] = {}
    compiled: Iterator[int] = msgspec.field(default_factory=count)

    def limits(self, namings: Sequence[Naming], end_users_of: str = "") -> Limits:
        """Return the limits of a caller, for whom these tenants name policies, the nearest first.

        `end_users_of` is the key whose end users the nearest policy may limit.
        """
        owners = [self._owner(naming) for naming in namings]
        end_users = None
        if namings and end_users_of:
            nearest = self.policies.get(namings[0].policy, PolicyConfig())
            if nearest.end_user_limits is not None:
                end_users = msgspec.structs.replace(
                    owners[0],
                    level=END_USER,
                    tenant=end_users_of,
                    limits=nearest.end_user_limits,
                    by_model={},
                )
        generation = self.generation, next(self.compiled)
        limits = Limits(owners, self.models, end_users, self.known, generation)
        # The stage recognises callers without limits by this one object.
        return limits or NO_LIMITS

    def all_limits(self) -> Iterator[LimitsConfig]:
        """Yield the limits of all policies and models."""
        yield from self.models.values()
        for policy in self.policies.values():
            yield policy.limits
            yield from policy.limits_by_model.values()
            if policy.end_user_limits is not None:
                yield policy.end_user_limits

    def _owner(self, naming: Naming) -> Owner:
        section = self.policies.get(naming.policy, PolicyConfig())
        return Owner(
            naming.level,
            naming.tenant,
            section.limits,
            section.limits_by_model,
            section.timezone,
            section.enforce,
        )


NO_SECTIONS = Sections()


class Policies:
    """The policies of a snapshot: by name, and by the tenants that name one."""

    def __init__(
        self,
        named: Mapping[str, Policy],
        tenants: Mapping[TenantNames, str] = MappingProxyType({}),
        sections: Sections = NO_SECTIONS,
        classes: Mapping[str, Priority] = MappingProxyType({}),
        moderators: Moderators | None = None,
    ) -> None:
        """`named` has the policy `default`; `tenants` has those of the configuration and the names of their policies."""
        self.named = named
        self.moderators = moderators or Moderators()
        """The models of `/v1/moderations`, which have rails of their own."""
        self.classes = classes
        """The classes that a request may name, in the order in which they go."""
        self.tenants = tenants
        """The tenants of the configuration, and the policies that they name; "" for one that names none."""
        unnamed = [Naming("policy", DEFAULT, DEFAULT)]
        self.default = msgspec.structs.replace(named[DEFAULT], limits=sections.limits(unnamed))
        """The policy of callers without a key. Its limits bound all of them together."""
        self.house = msgspec.structs.replace(
            named[DEFAULT], models=None, tags=frozenset(), plan=None, stricter={}
        )
        """The policy of the gateway's own calls, which rails do not check: a rail may make such calls itself."""
        self.have_limits = any(limits != LimitsConfig() for limits in sections.all_limits())
        """Whether any caller has a limit."""
        self.count_tokens = any(counts_tokens(limits) for limits in sections.all_limits())
        """Whether a limit depends on the number of tokens."""
        self._sections = sections
        self._of: dict[str, tuple[Key, Policy]] = {}

    def of(self, key: Key) -> Policy:
        """The policy of a key: the nearest one, narrowed to the models of the key, with the limits of every level.

        One look-up for a key seen before. Raises Forbidden for a key of the store if it or a tenant above it names a policy
        that is not configured.
        """
        found = self._of.get(key.id)
        if found is not None and found[0] is key:
            return found[1]
        policy = self._compiled(key)
        if len(self._of) >= MOST_KEYS:
            self._of.clear()
        self._of[key.id] = key, policy
        return policy

    def plans(self) -> Iterator[Plan]:
        """Yield the rails that calls to engines, and checks, may have to pass."""
        for policy in self.named.values():
            if policy.plan is not None:
                yield policy.plan
            yield from policy.stricter.values()

    def by_itself(self, name: str) -> Policy:
        """Return a policy with its own limits alone, for people to read."""
        limits = self._sections.limits([Naming("policy", name, name)], end_users_of=name)
        return msgspec.structs.replace(self.named[name], limits=limits)

    def nearest(self, key: Key) -> tuple[str, str]:
        """Who names the policy of a key, and the name: `key`, `user`, `team`, `organisation`, or `` for nobody."""
        namings = self.namings(key)
        return (namings[0].level, namings[0].policy) if namings else ("", DEFAULT)

    def namings(self, key: Key) -> list[Naming]:
        """Return the key and the tenants above it that name a policy, the nearest first.

        For a tenant to which the configuration gives a policy, that of the store means nothing: a tenant has one policy,
        whichever of its keys is used.
        """
        found = [Naming("key", key.caller.key, key.policy)] if key.policy else []
        stored = {(one.organisation, one.team, one.user): one.policy for one in key.above}
        for level, tenant in _above(key.caller):
            if name := self.tenants.get(tenant) or stored.get(tenant):
                found.append(Naming(level, path_of(*tenant).rstrip("/"), name))
        return found

    def _compiled(self, key: Key) -> Policy:
        # A key for which no policy is named has the limits of `default` for itself.
        namings = self.namings(key) or [Naming("key", key.caller.key, DEFAULT)]
        for naming in namings:
            if naming.policy not in self.named:
                raise Forbidden(
                    f"The policy '{naming.policy}' of this {naming.level} does not exist; the operator has to configure it"
                )
        policy = self.named[namings[0].policy]
        models = policy.models
        if key.models is not None:
            own = Patterns(key.models)
            models = own if models is None else own & models
        limits = self._sections.limits(namings, key.caller.key)
        return msgspec.structs.replace(policy, models=models, limits=limits)


def _above(caller: Caller) -> Iterator[tuple[str, TenantNames]]:
    """The tenants of a caller, the nearest first."""
    organisation, team, user = caller.organisation, caller.team, caller.user
    if user:
        yield "user", (organisation, team, user)
    if team:
        yield "team", (organisation, team, "")
    if organisation:
        yield "organisation", (organisation, "", "")


def compile_policies(
    config: Config, server: ServerConfig, *, generation: int = 0, rails: bool = True
) -> Policies:
    """The policies of a configuration. `server` are the server's settings in force.

    `generation` is greater than that of each configuration before, so that the limiter knows which limits are newer.
    Without `rails` no policy has a plan: compiling those takes long, and who only reads rights and limits needs none.
    """
    answers = digest(config, without=_NOT_ANSWERS)
    sections = {DEFAULT: PolicyConfig(), **config.policies}
    priorities = priorities_of(config)
    plans: Mapping[str, Plan] = plans_of(config) if rails else {}
    named = {
        name: _compiled(name, section, server, answers, priorities, plans)
        for name, section in sections.items()
    }
    models = {name: model.limits for name, model in config.models.items() if model.limits != LimitsConfig()}
    tenants = dict(tenants_of(config.organisations))
    moderators = Moderators(config.rails, plans if rails else None)
    return Policies(named, tenants, Sections(sections, models, generation), priorities, moderators)


def plans_of(config: Config) -> Mapping[str, Plan]:
    """Return the plans of all profiles of rails that are configured or named. Raises ConfigError with every mistake."""
    sections = {DEFAULT: PolicyConfig(), **config.policies}
    names = [name for section in sections.values() for name in (section.rails, *section.profiles[1])]
    return compile_plans(config.rails, [*names, *config.rails.moderation.values()])


def priorities_of(config: Config) -> Mapping[str, Priority]:
    """Return the classes of calls by name, in the order in which they go."""
    names = list(config.queue.classes)
    return {name: Priority(name, at - names.index(DEFAULT_CLASS)) for at, name in enumerate(names)}


def _compiled(
    name: str,
    section: PolicyConfig,
    server: ServerConfig,
    answers: str,
    priorities: Mapping[str, Priority],
    plans: Mapping[str, Plan],
) -> Policy:
    defaults = section.defaults
    models = Patterns(section.models)
    return Policy(
        name,
        max_body_bytes=min(defaults.max_body_bytes or server.max_body_bytes, server.max_body_bytes),
        deadline_s=min(defaults.deadline_s or server.call_deadline_s, server.call_deadline_s),
        digest=hashlib.sha256(f"{answers} {digest(section)}".encode()).digest(),
        models=None if models.listed == ("*",) else models,
        tags=frozenset(section.tags),
        priority=priorities[defaults.priority],
        max_tokens=defaults.max_tokens,
        on_limit=section.on_limit,
        strict=section.strict,
        count=section.count,
        internal_calls=section.internal_calls,
        rails=section.rails,
        stricter_rails=section.profiles[1],
        plan=plans.get(section.rails),
        stricter={one: plans[one] for one in section.profiles[1] if one in plans},
    )
