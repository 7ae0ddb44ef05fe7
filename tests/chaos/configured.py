"""The configuration that the crowds meet: an engine with seats, and a policy and keys for each class of calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chaos.crowd import Kind, key_of
from tidegate.config import Config


def configuration(seats: int, kinds: Iterable[Kind], *, server: Any = None, **engine: Any) -> dict[str, Any]:
    """The sections. The address of the engine is added by the one that starts it."""
    kinds = tuple(kinds)
    return {
        "server": {"max_connections": 20_000, **(server or {})},
        "engines": {"script": {"max_in_flight": seats, **engine}},
        "models": {"*": {"deployments": [{"engine": "script"}]}},
        # The crowds measure the queue, and what rails hold back would be measured with it.
        "policies": {kind.name: {"defaults": {"priority": kind.name}, "rails": "none"} for kind in kinds},
        "organisations": {tenant: {} for kind in kinds for tenant in kind.tenants},
        "keys": {
            tenant: {"secret": key_of(tenant), "organisation": tenant, "policy": kind.name}
            for kind in kinds
            for tenant in kind.tenants
        },
        **_queue(kinds),
    }


def _queue(kinds: Iterable[Kind]) -> dict[str, Any]:
    if "queue" not in Config.model_fields:
        return {}
    return {"queue": {"classes": {kind.name: {"longest_wait_s": kind.slo_s} for kind in kinds}}}
