"""Divides a configuration among several workers, and refuses configurations that cannot be divided."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tidegate import config as configuration
from tidegate.config import (
    Config,
    EmbeddedConfig,
    EngineConfig,
    LimitsConfig,
    ModelConfig,
    PolicyConfig,
    limits_of,
)
from tidegate.config.review import MEMORY
from tidegate.errors import ConfigError, Problem
from tidegate.review.place import asks_people, place_of


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The source of a configuration, from which every process reads the same one. Secrets stay in the environment.

    `text` is the YAML text, or None for the built-in configuration. `name` is the source's name in error messages. `host`
    and `port` replace the values in the text.
    """

    name: str = ""
    text: str | None = None
    model_path: str | None = None
    demo: bool = False
    host: str | None = None
    port: int | None = None

    def read(self) -> Config:
        """Return the configuration. Raises ConfigError with every mistake found."""
        if self.text is None:
            model_path = Path(self.model_path) if self.model_path else None
            config = configuration.built_in(model_path=model_path, demo=self.demo)
        else:
            config = configuration.parse_text(self.text, source=self.name)
        changes = {key: value for key in ("host", "port") if (value := getattr(self, key)) is not None}
        return config.model_copy(update={"server": config.server.model_copy(update=changes)})


def part(whole: int, number: int, of: int) -> range:
    """Return the `number`-th of `of` disjoint parts of `range(whole)`. Their lengths differ by at most one."""
    return range(whole * number // of, whole * (number + 1) // of)


def share(config: Config, number: int, of: int) -> Config:
    """Return the configuration of one worker, with its part of every limit that applies to all workers together."""

    def mine(engine: EngineConfig) -> EngineConfig:
        parts = {field: len(part(limit, number, of)) for field, limit in _limits(engine)}
        if (
            engine.max_in_flight is not None
        ):  # divide clients' seats separately, so that no worker reserves all its seats
            clients = engine.max_in_flight - engine.reserved_seats
            parts["max_in_flight"] = len(part(clients, number, of)) + parts.get("reserved_seats", 0)
        if isinstance(engine, EmbeddedConfig):
            del parts["slots"]  # the one server keeps all its slots; each worker uses its own slot numbers
        return engine.model_copy(update=parts)

    def limited(limits: LimitsConfig) -> LimitsConfig:
        return limits.model_copy(
            update={
                field: amount / of if isinstance(amount, float) else len(part(amount, number, of))
                for field, amount in _amounts(limits)
            }
        )

    def policy(of_all: PolicyConfig) -> PolicyConfig:
        end_users = of_all.end_user_limits
        return of_all.model_copy(
            update={
                "limits": limited(of_all.limits),
                "limits_by_model": {name: limited(one) for name, one in of_all.limits_by_model.items()},
                "end_user_limits": None if end_users is None else limited(end_users),
            }
        )

    def model(of_all: ModelConfig) -> ModelConfig:
        return of_all.model_copy(update={"limits": limited(of_all.limits)})

    return config.model_copy(
        update={
            "engines": {name: mine(engine) for name, engine in config.engines.items()},
            "policies": {name: policy(one) for name, one in config.policies.items()},
            "models": {name: model(one) for name, one in config.models.items()},
        }
    )


def refuse_unshareable(config: Config, workers: int) -> None:
    """Raise ConfigError for a configuration that several workers cannot serve. All such rules are in this function.

    The limits of an engine have to be large enough to give every worker a part. Limits of callers are divided only if
    `quotas.divide` says so. No kind of store serves several processes yet. Caches and memory can be shared only through a
    store that all processes reach. Configurations that need such a store and do not name one are to be refused here, once
    these parts exist.
    """
    problems = [
        Problem(
            f"engines.{name}.{field}",
            f"is {limit}, too few for {workers} workers to share; raise it, or start fewer workers",
        )
        for name, engine in config.engines.items()
        for field, limit in _limits(engine)
        if limit < workers
    ]
    problems += [
        Problem(
            f"engines.{name}.reserved_seats",
            f"leaves {clients} of max_in_flight, too few for {workers} workers to share; lower it, or start fewer workers",
        )
        for name, engine in config.engines.items()
        if engine.max_in_flight is not None
        and (clients := engine.max_in_flight - engine.reserved_seats) < workers <= engine.max_in_flight
    ]
    problems += _unshareable_limits(config, workers)
    if asks_people(config) and place_of(config) == MEMORY:
        problems.append(
            Problem("review.path", "has to name a file: each worker would have cases of its own in memory")
        )
    problems += [
        Problem(
            f"stores.{name}",
            "serves one process: start without --workers, or give the keys under keys: instead",
        )
        for name in config.stores
    ]
    if problems:
        raise ConfigError(f"--workers {workers}", problems)


def _unshareable_limits(config: Config, workers: int) -> Iterator[Problem]:
    for path, limits in limits_of(config):
        for field, amount in _amounts(limits):
            if not config.quotas.divide:
                yield Problem(
                    f"{path}.{field}",
                    f"{workers} workers do not share what they count; start one worker, or set quotas.divide to true, so"
                    " that each worker enforces its part",
                )
            elif amount < workers:
                yield Problem(
                    f"{path}.{field}",
                    f"is {amount:g}, too few for {workers} workers to share; raise it, or start fewer workers",
                )


def _amounts(limits: LimitsConfig) -> Iterator[tuple[str, float]]:
    """Yield the name and value of each limit that is set."""
    for field in type(limits).model_fields:
        amount: float | None = getattr(limits, field)
        if amount is not None:
            yield field, amount


def embedded(config: Config) -> dict[str, EmbeddedConfig]:
    """Return the engines whose servers the supervisor owns."""
    return {name: engine for name, engine in config.engines.items() if isinstance(engine, EmbeddedConfig)}


def _limits(engine: EngineConfig) -> Iterator[tuple[str, int]]:
    """Yield the name and value of each limit of an engine that applies to all workers together."""
    for field in ("max_in_flight", "max_connections", "slots"):
        limit: Any = getattr(engine, field, None)
        if isinstance(limit, int):
            yield field, limit
    if engine.reserved_seats:
        yield "reserved_seats", engine.reserved_seats
