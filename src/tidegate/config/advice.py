"""Warnings about a configuration that can be served but most likely has a mistake. `check` and the log show them."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.config import urls
from tidegate.config.engines import HttpEngineConfig
from tidegate.config.tree import Config, limits_of
from tidegate.errors import Problem


def warnings(config: Config, now: float | None = None) -> list[Problem]:
    """Return the warnings, each with the path of its setting. This does no I/O.

    `now` is in seconds since the epoch. Without it, there are no warnings of keys that have expired.
    """
    expired = () if now is None else _expired(config, now)
    return [
        *_urls(config),
        *_bursts(config),
        *_models(config),
        *_hedges(config),
        *_forgotten(config),
        *_undecided(config),
        *expired,
    ]


def _urls(config: Config) -> Iterator[Problem]:
    for name, engine in config.engines.items():
        if isinstance(engine, HttpEngineConfig) and (likely := urls.likely(engine.url)):
            yield Problem(
                f"engines.{name}.url",
                f"{engine.url} names no version of the API: most servers have theirs at {likely}."
                f" Calls go to {engine.url}/chat/completions",
            )


def _bursts(config: Config) -> Iterator[Problem]:
    """Bursts without a limit for a minute, or above it: either has another effect than it says."""
    for path, limits in limits_of(config):
        for unit in ("requests", "tokens"):
            burst, most = getattr(limits, f"burst_{unit}"), getattr(limits, f"{unit}_per_minute")
            if burst is not None and most is None:
                yield Problem(
                    f"{path}.burst_{unit}", f"has no effect without {unit}_per_minute: add that limit"
                )
            elif burst is not None and burst > most:
                yield Problem(
                    f"{path}.burst_{unit}",
                    f"counts as {most}: no more than {unit}_per_minute can be used at once",
                )


def _models(config: Config) -> Iterator[Problem]:
    """Policies that name models which are not configured."""
    for name, policy in config.policies.items():
        every = [*config.models, *config.rails.moderators]
        named = [(f"policies.{name}.models", one, every) for one in policy.models]
        named += [
            (f"policies.{name}.limits_by_model", one, [*config.models]) for one in policy.limits_by_model
        ]
        for path, pattern, models in named:
            if not any(_meet(pattern, model) for model in models):
                yield Problem(
                    path, f"'{pattern}' matches no model; there are: {', '.join(sorted(config.models))}"
                )


def _hedges(config: Config) -> Iterator[Problem]:
    """Hedging where no call has a second engine to go to."""
    for name, model in config.models.items():
        engines = {(one.tier, one.engine) for one in model.deployments}
        if model.hedges and len(engines) == len({tier for tier, _ in engines}):
            yield Problem(
                f"models.{name}.hedges",
                "has no effect without two engines in one tier: add a deployment on another engine",
            )


def _meet(one: str, other: str) -> bool:
    """Whether two names or prefixes with `*` have a name in common."""
    return (
        one == other
        or (one.endswith("*") and other.removesuffix("*").startswith(one[:-1]))
        or (other.endswith("*") and one.removesuffix("*").startswith(other[:-1]))
    )


def _forgotten(config: Config) -> Iterator[Problem]:
    """Limits whose consumption a restart forgets, because there is no store that keeps it."""
    if config.stores:
        return
    for path, limits in limits_of(config):
        for setting in type(limits).model_fields:
            _, _, period = setting.partition("_per_")
            if period in ("day", "month") and getattr(limits, setting) is not None:
                yield Problem(
                    f"{path}.{setting}",
                    f"what is used of it in a {period} is forgotten when the gateway restarts:"
                    " add a store under `stores`, which keeps it",
                )


def _undecided(config: Config) -> Iterator[Problem]:
    """Profiles that ask people where nobody has the scope `review`. The keys of a store may have it."""
    tokens = () if config.auth.jwt is None else config.auth.jwt.claims.scopes_by_value.values()
    scopes = (*(key.scopes for key in config.keys.values()), *tokens)
    if config.stores or config.admin.token is not None or any("review" in one for one in scopes):
        return
    for name, profile in config.rails.profiles.items():
        if profile.asks_people:
            yield Problem(
                f"rails.profiles.{name}",
                "asks people, but nobody can decide: give a key under `keys` the scope `review`, or set admin.token",
            )


def _expired(config: Config, now: float) -> Iterator[Problem]:
    for name, key in config.keys.items():
        if key.expires_at is not None and key.expires_at.timestamp() <= now:
            yield Problem(
                f"keys.{name}.expires_at",
                f"the key has expired at {key.expires_at.isoformat()}, so its callers are refused:"
                " set a later time, or remove the key",
            )
