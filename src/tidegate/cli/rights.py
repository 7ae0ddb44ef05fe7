"""What `tidegate check` prints of policies and keys: who may do what. No secret and no digest is among it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from rich.console import Console
from rich.table import Table

from tidegate.access.configured import configured_keys, peppers_of
from tidegate.config import Config
from tidegate.dispatch.deployments import Models
from tidegate.errors import ConfigError, Problem
from tidegate.http.access import NEEDS
from tidegate.policy import PRIORITIES, Policies, Policy, compile_policies
from tidegate.stages.authenticate import OPEN
from tidegate.types import Key, Limit

_CLASSES = {number: name for name, number in PRIORITIES.items()}


class Rights(msgspec.Struct, frozen=True):
    """What a policy allows. `models` are the names and prefixes that a caller will find; sizes in bytes, times in seconds.

    `limits` are those that a call meets, at every level.
    """

    policy: str
    models: list[str]
    priority: str
    deadline_s: float
    max_body_bytes: int
    max_tokens: int | None
    limits: list[Bound]


class Bound(msgspec.Struct, frozen=True):
    """One limit of a tenant. `most` is in calls, tokens or US dollars. `burst` is what may be used at once."""

    level: str
    tenant: str
    dimension: str
    most: float
    burst: int | None
    enforce: bool


class Holder(msgspec.Struct, frozen=True):
    """A key, and what it may do. `policy_from` is who names the policy; empty: nobody, and `default` applies."""

    key: str
    organisation: str
    team: str
    user: str
    scopes: list[str]
    routes: list[str]
    expires_at: str | None
    policy_from: str
    rights: Rights


def policies_of(config: Config) -> list[Rights]:
    """What each policy allows, in the order of the file."""
    policies = compile_policies(config, config.server)
    return [_rights(config, policies.by_itself(name)) for name in policies.named]


def find_key(config: Config, name: str) -> tuple[Key, Policies]:
    """A key of the configuration by its name, and the policies. Raises ConfigError for an unknown name."""
    known = configured_keys(config, peppers_of(config))
    if name not in known:
        found = f"there is no key '{name}'; there are: {', '.join(sorted(known)) or 'none'}"
        raise ConfigError("--key", [Problem("keys", found)])
    return known[name], compile_policies(config, config.server)


def holder(config: Config, name: str) -> Holder:
    """What a key of the configuration may do. Raises ConfigError for an unknown name."""
    key, policies = find_key(config, name)
    caller, (policy_from, _) = key.caller, policies.nearest(key)
    return Holder(
        key=name,
        organisation=caller.organisation,
        team=caller.team,
        user=caller.user,
        scopes=sorted(caller.scopes),
        routes=[path for path, scope in NEEDS.items() if scope == OPEN or scope in caller.scopes],
        expires_at=None
        if key.expires_at is None
        else datetime.fromtimestamp(key.expires_at, UTC).isoformat(),
        policy_from=policy_from,
        rights=_rights(config, policies.of(key)),
    )


def show_policies(rights: list[Rights], console: Console) -> None:
    """Print a table of policies."""
    table = Table(title="Policies", title_justify="left")
    for head in ("policy", "models", "priority", "deadline", "body", "max_tokens", "limits"):
        table.add_column(head)
    for one in rights:
        table.add_row(one.policy, *_cells(one))
    console.print(table, markup=False)


def show_holder(found: Holder, console: Console) -> None:
    """Print what a key may do, a line for each fact."""
    models, priority, deadline, body, max_tokens, limits = _cells(found.rights)
    tenants = " / ".join(filter(None, (found.organisation, found.team, found.user)))
    of = f" (of its {found.policy_from})" if found.policy_from else " (nobody above it names one)"
    facts = {
        "key": found.key,
        "tenants": tenants or "none",
        "scopes": ", ".join(found.scopes) or "none",
        "expires": found.expires_at or "never",
        "policy": found.rights.policy + of,
        "models": models,
        "priority": priority,
        "deadline": deadline,
        "largest body": body,
        "max_tokens": max_tokens,
        "limits": limits,
        "routes": ", ".join(found.routes),
    }
    for name, value in facts.items():
        console.print(f"{name:<13} {value}", markup=False, highlight=False, soft_wrap=True)


def _rights(config: Config, policy: Policy) -> Rights:
    visible = Models(dict.fromkeys(config.models, ())).visible(policy.models)
    return Rights(
        policy.name,
        visible,
        _CLASSES[policy.priority],
        policy.deadline_s,
        policy.max_body_bytes,
        policy.max_tokens,
        [_bound(limit) for limit in policy.limits.listed],
    )


def _bound(limit: Limit) -> Bound:
    most = limit.most / 1e6 if limit.money else limit.most
    return Bound(limit.level, limit.tenant, limit.dimension, most, limit.burst or None, limit.enforce)


def _cells(rights: Rights) -> tuple[str, ...]:
    return (
        ", ".join(rights.models) or "none",
        rights.priority,
        f"{rights.deadline_s:g} s",
        f"{rights.max_body_bytes:,} bytes",
        "-" if rights.max_tokens is None else str(rights.max_tokens),
        "\n".join(map(_line, rights.limits)) or "none",
    )


def _line(bound: Bound) -> str:
    burst = f", at once {bound.burst}" if bound.burst is not None else ""
    counted = "" if bound.enforce else " (counted only)"
    return f"{bound.level} {bound.tenant}: {bound.dimension} {bound.most:g}{burst}{counted}"
