"""Which limits a call meets: those of its caller at every level, of its model, and of both as a pair. Compiled once.

A limit belongs to the tenant that names its policy. So the calls of one key can meet the limits of the key, of its user,
of its team and of its organisation at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType

import msgspec

from tidegate.config import LimitsConfig
from tidegate.kernel.patterns import Patterns
from tidegate.quotas.headers import Counted, RateHeaders
from tidegate.types import Amounts, Limit, Per, Unit

MODEL = "model"
"""The level of the limits that all callers of a model share."""
END_USER = "end_user"
"""The level of the limits of one end user of a key, by the field `user` of a request."""
_TENANTS = ("key", "user", "team", "organisation", "policy")
LEVELS = (*_TENANTS, MODEL, *(f"{one}_model" for one in _TENANTS), END_USER)
"""All levels. The level `policy` has the limits of the policy `default` for callers without a key."""
LONGEST_NAME = 128
"""Longer names, which clients may choose, are not kept."""
MOST_KNOWN = 100_000
MOST_PLANS = 1000
"""The plans that are kept for one caller. Each has the limits of one model or of one end user."""


DIMENSIONS: Mapping[str, tuple[Unit, Per]] = MappingProxyType(
    {
        "requests_per_minute": (Unit.CALLS, Per.MINUTE),
        "tokens_per_minute": (Unit.TOKENS, Per.MINUTE),
        "requests_per_day": (Unit.CALLS, Per.DAY),
        "tokens_per_day": (Unit.TOKENS, Per.DAY),
        "usd_per_day": (Unit.MONEY, Per.DAY),
        "usd_per_month": (Unit.MONEY, Per.MONTH),
        "concurrent_calls": (Unit.CALLS, Per.CALL),
    }
)
"""The limits of `LimitsConfig`. The settings that begin with `burst` belong to the limits for a minute."""
_BURSTS = MappingProxyType({Unit.CALLS: "burst_requests", Unit.TOKENS: "burst_tokens"})


class Owner(msgspec.Struct, frozen=True):
    """A tenant with limits of its own. `limits` are for all models, and `by_model` are for a name or a prefix and `*`.

    `within` is the key of an end user.
    """

    level: str
    tenant: str
    limits: LimitsConfig
    by_model: Mapping[str, LimitsConfig] = MappingProxyType({})
    zone: str = "UTC"
    enforce: bool = True
    within: str = ""


class Plan:
    """The limits that a call meets, and what each of them counts.

    `counts_tokens` says whether a limit depends on the number of tokens, and `counts_money` whether one depends on the
    price of the call. `most_tokens` is the smallest limit of tokens, which no call may exceed; None if there is none.
    """

    __slots__ = ("counts_money", "counts_tokens", "headers", "limits", "most_tokens", "units")

    def __init__(self, counted: Iterable[Counted]) -> None:
        found = list(counted)
        self.limits = tuple([limit for limit, _ in found])
        self.units = tuple([unit for _, unit in found])
        self.headers = RateHeaders(found)
        self.counts_money = Unit.MONEY in self.units
        self.counts_tokens = self.counts_money or Unit.TOKENS in self.units
        bounds = [limit.most for limit, unit in found if unit is Unit.TOKENS and limit.enforce]
        self.most_tokens = min(bounds, default=None)

    def of_each(self, amounts: Amounts) -> list[int]:
        """Return the amount of each limit: what a call needs of it, or has used."""
        return [amounts[unit] for unit in self.units]


class Limits:
    """The limits of one caller. `plan` finds those that one call meets."""

    def __init__(
        self,
        owners: Sequence[Owner] = (),
        models: Mapping[str, LimitsConfig] = MappingProxyType({}),
        end_users: Owner | None = None,
        known: dict[str, Limit] | None = None,
        generation: tuple[int, int] = (0, 0),
    ) -> None:
        """Compile the limits.

        `models` has the limits of each configured model that all callers share. `end_users` has what each end user of the
        caller may use; its `tenant` is the caller. `known` has limits by their buckets. Callers that share a limit share
        the object, so that the limiter recognises it at once. `generation` is that of a Limit.
        """
        self._generation = generation
        self._known: dict[str, Limit] = {} if known is None else known
        self.owners = owners
        self._models = models
        self._end_users = end_users
        self._everywhere = tuple([one for owner in owners for one in self._limits(owner)])
        self._pairs = tuple(
            [
                (Patterns([pattern]), tuple(self._limits(_pair(owner, pattern))))
                for owner in owners
                for pattern in owner.by_model
            ]
        )
        self._plans: dict[tuple[str, str], Plan] = {}
        self.general = Plan(self._everywhere)
        """The limits that every call meets, whatever its model."""

    def __bool__(self) -> bool:
        return bool(self._everywhere or self._pairs or self._models or self._end_users)

    @property
    def listed(self) -> list[Limit]:
        """All limits except those of end users, for people to read."""
        found = [*self._everywhere, *(one for _, limits in self._pairs for one in limits)]
        for model, limits in self._models.items():
            found += self._limits(Owner(MODEL, model, limits))
        return [limit for limit, _ in found]

    @property
    def of_end_users(self) -> list[Limit]:
        """The limits of each end user, for people to read. Their tenant is the key."""
        return [limit for limit, _ in self._limits(self._end_users)] if self._end_users is not None else []

    def plan(self, model: str, route: str, end_user: str = "") -> Plan:
        """Return the limits that a call meets.

        `model` is the name in the request, `route` the configured name that it matched, and `end_user` the request's field
        `user`.
        """
        key = (model, _bounded(end_user) if self._end_users is not None else "")
        plan = self._plans.get(key)
        if plan is None and len(model) > LONGEST_NAME:
            return Plan(self._met(model, route, key[1]))
        if plan is None:
            if len(self._plans) >= MOST_PLANS:
                del self._plans[next(iter(self._plans))]
            plan = self._plans[key] = Plan(self._met(model, route, key[1]))
        return plan

    def _met(self, model: str, route: str, end_user: str) -> Iterator[Counted]:
        yield from self._everywhere
        for patterns, limits in self._pairs:
            if model in patterns:
                yield from limits
        if route in self._models:
            yield from self._limits(Owner(MODEL, route, self._models[route]))
        if end_user and self._end_users is not None:
            tenant = path_of(self._end_users.tenant, end_user)
            owner = msgspec.structs.replace(self._end_users, tenant=tenant, within=self._end_users.tenant)
            yield from self._limits(owner)

    def _limits(self, owner: Owner) -> Iterator[Counted]:
        for limit, unit in _compiled(owner, self._generation):
            known = self._known.get(limit.bucket)
            if known is not None and msgspec.structs.replace(known, generation=limit.generation) == limit:
                yield known, unit
                continue
            # The policy of a tenant may have changed in the store since the limit was known.
            if known is None or known.generation < limit.generation:
                if len(self._known) >= MOST_KNOWN:
                    self._known.clear()
                self._known[limit.bucket] = limit
            yield limit, unit


NO_LIMITS = Limits()


def counts_tokens(limits: LimitsConfig) -> bool:
    """Return whether one of the limits depends on the number of tokens of a call."""
    return any(
        unit is not Unit.CALLS and getattr(limits, dimension) is not None
        for dimension, (unit, _) in DIMENSIONS.items()
    )


def default_burst(per_minute: int, largest_call: int) -> int:
    """Return the capacity of a bucket for a minute: a tenth of the limit, or the largest call that a policy admits.

    `largest_call` is 0 where the policy has no such bound. A call that exceeds the minute limit is never admitted, so the
    burst never exceeds it either.
    """
    return min(per_minute, max(-(-per_minute // 10), largest_call))


def _pair(owner: Owner, pattern: str) -> Owner:
    """A tenant for some models: at a level of its own, so that no name of a tenant can imitate a pair."""
    return msgspec.structs.replace(
        owner,
        level=f"{owner.level}_model",
        tenant=path_of(owner.tenant, pattern),
        limits=owner.by_model[pattern],
    )


def _bounded(name: str) -> str:
    """Return a name that a client has chosen, or the digest of a long one."""
    if len(name) <= LONGEST_NAME:
        return name
    return f"sha256:{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


def path_of(*names: str) -> str:
    """Join names of tenants. A slash in a name is escaped, so that different names never give the same path."""
    return "/".join([name.replace("%", "%25").replace("/", "%2F") for name in names])


def _compiled(owner: Owner, generation: tuple[int, int]) -> Iterator[Counted]:
    for dimension, (unit, per) in DIMENSIONS.items():
        most = getattr(owner.limits, dimension)
        if most is None:
            continue
        money = unit is Unit.MONEY
        limit = Limit(
            owner.level,
            owner.tenant,
            dimension,
            round(most * 1e6) if money else most,
            per,
            _burst(owner.limits, unit, most) if per is Per.MINUTE else 0,
            owner.zone,
            money,
            owner.enforce,
            within=owner.within,
            generation=generation,
        )
        yield limit, unit


def _burst(limits: LimitsConfig, unit: Unit, most: int) -> int:
    given: int | None = getattr(limits, _BURSTS[unit])
    return min(given, most) if given is not None else default_burst(most, 1)
