"""What `tidegate check` prints of policies and keys: who may do what. No secret and no digest is among it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from rich.console import Console

from tidegate.access.administration import Administration, date, state
from tidegate.access.configured import configured_keys, peppers_of
from tidegate.access.keys import Peppers, id_of
from tidegate.cli.admission import Refusal, in_words, refusal
from tidegate.cli.store import Place, within
from tidegate.config import Config, LocalStoreConfig
from tidegate.config.tenants import SHORTEST_SECRET
from tidegate.dispatch.deployments import Models
from tidegate.errors import ConfigError, Forbidden, NotFound, Problem
from tidegate.http.access import NEEDS
from tidegate.kernel.patterns import Patterns
from tidegate.policy import DEFAULT, Policies, Policy, compile_policies
from tidegate.quotas.levels import END_USER, MODEL
from tidegate.stages.authenticate import OPEN
from tidegate.types import Key, Limit, Per

_OVER = MappingProxyType(
    {"refuse": "calls are refused", "wait": "calls wait within their deadline (on_limit)"}
)
_COUNT = MappingProxyType(
    {"estimate": "the gateway counts prompts", "engine": "the engine counts prompts (count)"}
)
_STRICT = "max_tokens is set where a request has none (strict)"
_NOT_STRICT = "answers without max_tokens are estimated"
_INTERNAL = MappingProxyType(
    {
        "house": "the gateway's own calls are not charged",
        "caller": "the gateway's own calls are charged too (internal_calls)",
    }
)


class Rights(msgspec.Struct, frozen=True):
    """What a policy allows. `models` are the names and prefixes that a caller will find; sizes in bytes, times in seconds.

    `rails` is the profile of its rails, and `stricter_rails` those that a request may ask for instead. `limits` are those
    that a call meets, at every level. `end_user_limits` are for each end user, by the field `user`.
    """

    policy: str
    models: list[str]
    priority: str
    deadline_s: float
    max_body_bytes: int
    max_tokens: int | None
    on_limit: str
    strict: bool
    count: str
    internal_calls: str
    rails: str
    stricter_rails: list[str]
    limits: list[Bound]
    end_user_limits: list[Bound]


class Bound(msgspec.Struct, frozen=True):
    """One limit of a tenant. `most` is in calls, tokens or US dollars. `burst` is what may be used at once.

    `timezone` is the zone of a day or month; None for other limits.
    """

    level: str
    tenant: str
    dimension: str
    most: float
    burst: int | None
    enforce: bool
    timezone: str | None


class Found(msgspec.Struct, frozen=True):
    """A key that was asked for. `name` is that of the configuration, or the id in the store.

    `pasted` says that the text of the key was given instead.
    """

    name: str
    key: Key
    policies: Policies
    pasted: bool = False


class Holder(msgspec.Struct, frozen=True):
    """A key, and what it may do. `policy_from` is the level that names the policy; empty: no level, and `default` applies.

    `state` is `valid`, `expired` or `revoked`, and `says` is the same with its time. `refused` is what every request with
    the key gets. `rights` are None if the policy does not exist.
    """

    key: str
    state: str
    says: str
    organisation: str
    team: str
    user: str
    scopes: list[str]
    routes: list[str]
    expires_at: str | None
    policy_from: str
    rights: Rights | None
    refused: Refusal | None


def policies_of(config: Config) -> list[Rights]:
    """What each policy allows, in the order of the file. The limits of models are those of `models_of`."""
    policies = compile_policies(config, config.server, rails=False)
    found = [_rights(config, policies.by_itself(name)) for name in policies.named]
    return [
        msgspec.structs.replace(one, limits=[limit for limit in one.limits if limit.level != MODEL])
        for one in found
    ]


def models_of(config: Config) -> list[Bound]:
    """The limits of models, which all callers of a model share."""
    limits = compile_policies(config, config.server, rails=False).by_itself(DEFAULT).limits
    return [_bound(limit) for limit in limits.listed if limit.level == MODEL]


def find_key(config: Config, name: str) -> Found:
    """Find a key of the configuration by its name or of its store by its id. Raises ConfigError for no key.

    A whole key is taken for its id. It is a secret, so no message has it.
    """
    peppers = peppers_of(config)
    known = configured_keys(config, peppers)
    here = name if name in known else _whose(name, known, peppers)
    asked = here or (id_of(name) if name.startswith("tg_") else name)
    key = known[here] if here else _stored_key(config, asked)
    if key is None:
        stored = "; `tidegate keys list` shows the ids of those in the store" if config.stores else ""
        shown = f"key '{name}'" if len(name) < SHORTEST_SECRET else "such key"
        found = f"there is no {shown}; there are: {', '.join(sorted(known)) or 'none'}{stored}"
        raise ConfigError("--key", [Problem("keys", found)])
    policies = compile_policies(config, config.server, rails=False)
    return Found(asked, key, policies, pasted=name not in (asked, f"tg_{asked}"))


def _whose(secret: str, known: Mapping[str, Key], peppers: Peppers) -> str:
    """Return the name of the configured key with this secret, or an empty text."""
    digests = peppers.digests(secret)
    return next((name for name, key in known.items() if key.secrets[0].digest in digests), "")


def _stored_key(config: Config, id: str) -> Key | None:
    store = next(iter(config.stores.values()), None)
    if not isinstance(store, LocalStoreConfig) or not store.path.is_file():
        return None

    async def find(keys: Administration) -> Key | None:
        try:
            return await keys.find(id)
        except NotFound:
            return None

    return within(Place(store.path), find)


def holder(config: Config, found: Found, now: float) -> Holder:
    """What a key of the configuration or of its store may do at `now`, in seconds since the epoch."""
    key, policies = found.key, found.policies
    caller, (policy_from, _) = key.caller, policies.nearest(key)
    try:
        rights = _rights(config, policies.of(key))
    except Forbidden:
        rights = None  # a policy that does not exist
    return Holder(
        key=found.name,
        state=state(key, now),
        says=in_words(key, now),
        organisation=caller.organisation,
        team=caller.team,
        user=caller.user,
        scopes=sorted(caller.scopes),
        routes=[path for path, scope in NEEDS.items() if scope == OPEN or scope in caller.scopes],
        expires_at=date(key.expires_at),
        policy_from=policy_from,
        rights=rights,
        refused=refusal(policies, key, now),
    )


def show_policies(rights: list[Rights], models: list[Bound], console: Console) -> None:
    """Print each policy, a line for each fact, and the limits of models."""
    console.print(
        "Policies. The limits of a policy bound each tenant that names it, as a whole.\n", style="bold"
    )
    for one in rights:
        console.print(one.policy, markup=False, highlight=False)
        _show(_facts(one, whose=False), console, indent="  ")
    if models:
        console.print("\nLimits of models, for all callers together\n", style="bold")
        for one in models:
            console.print(f"  {one.tenant}: {_line(one)}", markup=False, highlight=False, soft_wrap=True)


def show_holder(found: Holder, console: Console) -> None:
    """Print what a key may do, a line for each fact."""
    tenants = " / ".join(filter(None, (found.organisation, found.team, found.user)))
    facts = {
        "key": found.key,
        "state": found.says,
        "tenants": tenants or "none",
        "scopes": ", ".join(found.scopes) or "none",
        "expires": found.expires_at or "never",
    }
    if found.refused is not None:
        facts["refused"] = f"{found.refused.status}: {found.refused.message}"
    if found.rights is not None:
        of = f" (of its {found.policy_from})" if found.policy_from else " (nobody above it names one)"
        facts |= {"policy": found.rights.policy + of, **_facts(found.rights, whose=True)}
        facts["routes"] = ", ".join(found.routes)
    _show(facts, console)


def _show(facts: Mapping[str, str], console: Console, *, indent: str = "") -> None:
    for name, value in facts.items():
        text = value.replace("\n", f"\n{indent}{'':<14}")
        console.print(f"{indent}{name:<13} {text}", markup=False, highlight=False, soft_wrap=True)


def _rights(config: Config, policy: Policy) -> Rights:
    having = [
        name
        for name, model in config.models.items()
        if any(policy.tags <= set(one.tags) for one in model.deployments)
    ]
    visible = Models(dict.fromkeys(having, ())).visible(policy.models)
    return Rights(
        policy=policy.name,
        models=visible,
        priority=policy.priority.name,
        deadline_s=policy.deadline_s,
        max_body_bytes=policy.max_body_bytes,
        max_tokens=policy.max_tokens,
        on_limit=policy.on_limit,
        strict=policy.strict,
        count=policy.count,
        internal_calls=policy.internal_calls,
        rails=policy.rails,
        stricter_rails=list(policy.stricter_rails),
        limits=[_bound(limit) for limit in policy.limits.listed if _is_met(limit, policy.models)],
        end_user_limits=[_bound(limit) for limit in policy.limits.of_end_users],
    )


def _is_met(limit: Limit, models: Patterns | None) -> bool:
    """Whether a caller can meet a limit. It never meets that of a model that it may not ask for."""
    return limit.level != MODEL or models is None or any(models.within(limit.tenant))


def _bound(limit: Limit) -> Bound:
    return Bound(
        level=limit.level,
        tenant=limit.tenant,
        dimension=limit.dimension,
        most=limit.most / 1e6 if limit.money else limit.most,
        burst=limit.burst or None,
        enforce=limit.enforce,
        timezone=limit.zone if limit.per in (Per.DAY, Per.MONTH) else None,
    )


def _facts(rights: Rights, *, whose: bool) -> dict[str, str]:
    """What a policy allows, in words. `whose` says whether to name the tenant of each limit."""

    def named(one: Bound) -> str:
        if whose and one.level != END_USER:
            return f"{one.level} {one.tenant}: "
        # Of a pair of a policy and a pattern, the pattern says enough.
        return f"{one.tenant.removeprefix(f'{rights.policy}/')}: " if one.level.endswith("_model") else ""

    def lines(bounds: list[Bound]) -> str:
        return "\n".join(named(one) + _line(one) for one in bounds) or "none"

    facts = {
        "models": ", ".join(rights.models) or "none",
        "priority": rights.priority,
        "deadline": f"{rights.deadline_s:g} s",
        "largest body": f"{rights.max_body_bytes:,} bytes",
        "max_tokens": "-" if rights.max_tokens is None else str(rights.max_tokens),
        "rails": rights.rails
        + (f", or {' or '.join(rights.stricter_rails)}" if rights.stricter_rails else ""),
        "limits": lines(rights.limits),
    }
    if rights.end_user_limits:
        facts["each end user"] = lines(rights.end_user_limits)
    if rights.limits or rights.end_user_limits:
        facts["over a limit"] = _OVER[rights.on_limit]
        facts["counting"] = f"{_COUNT[rights.count]}; {_STRICT if rights.strict else _NOT_STRICT}"
        facts["own calls"] = _INTERNAL[rights.internal_calls]
    return facts


def _line(bound: Bound) -> str:
    money = bound.dimension.startswith("usd_")
    notes = [f"{bound.most:,.2f}" if money else f"{bound.most:,.0f}"]
    if bound.burst is not None:
        notes.append(f"{bound.burst:,} at once")
    if bound.timezone not in (None, "UTC"):
        notes.append(f"in {bound.timezone}")
    return f"{bound.dimension} {', '.join(notes)}{'' if bound.enforce else ' (counted only)'}"
