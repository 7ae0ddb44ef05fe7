"""Tidegate: an LLM gateway that keeps applications fast under load and every request and reply safe."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.config import Config
    from tidegate.gateway import Gateway
    from tidegate.guard import Guard
    from tidegate.http.app import create_app
    from tidegate.ports import Cache, Check, Clock, Embedder, Engine, Limiter, Rule, Sink, Store
    from tidegate.structure.form import structured

__all__ = [
    "Cache",
    "Check",
    "Clock",
    "Config",
    "Embedder",
    "Engine",
    "Gateway",
    "Guard",
    "Limiter",
    "Rule",
    "Sink",
    "Store",
    "create_app",
    "structured",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use. An engine's child process imports this package too, but needs no web framework."""
    homes = {
        "Config": "tidegate.config",
        "Gateway": "tidegate.gateway",
        "Guard": "tidegate.guard",
        "create_app": "tidegate.http.app",
        "structured": "tidegate.structure.form",
    }
    if name not in __all__:
        raise AttributeError(f"module 'tidegate' has no attribute '{name}'")
    return getattr(import_module(homes.get(name, "tidegate.ports")), name)
