"""Which class stands behind a `kind` in the config. Parts are imported only when a config names them.

Built-in kinds are listed here, one line each; other packages add theirs through an entry point of the same group:

    [project.entry-points."tidegate.engines"]
    parrot = "my_package:ParrotEngine"
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

BUILT_IN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "tidegate.engines": MappingProxyType(
            {
                "openai": "tidegate.engines.openai:OpenAIEngine",
                "vllm": "tidegate.engines.vllm:VllmEngine",
                "sglang": "tidegate.engines.sglang:SglangEngine",
                "llamacpp": "tidegate.engines.llamacpp:LlamaCppEngine",
                "embedded": "tidegate.engines.embedded.engine:EmbeddedEngine",
                "embedder": "tidegate.engines.embedder:EmbedderEngine",
                "scripted": "tidegate.engines.scripted.engine:ScriptedEngine",
            }
        ),
        "tidegate.rails": MappingProxyType({}),
        "tidegate.caches": MappingProxyType({}),
        "tidegate.stores": MappingProxyType({}),
    }
)


class UnknownGroup(LookupError):
    """No such group of parts, a mistake in the code that asks; the message lists those that exist."""


class UnknownKind(LookupError):
    """No part of this kind, or none that can be used; the message says why, and lists those that exist."""


def built_in(group: str) -> Mapping[str, str]:
    """The kinds of a group that are listed here, and where their classes are. Raises UnknownGroup."""
    if group not in BUILT_IN:
        raise UnknownGroup(f"there is no group of parts '{group}'; there are: {', '.join(BUILT_IN)}")
    return BUILT_IN[group]


def kinds(group: str) -> list[str]:
    """The kinds of a group, built in and installed, in alphabetical order. Raises UnknownGroup."""
    return sorted({*built_in(group), *(point.name for point in entry_points(group=group))})


def find(group: str, kind: str) -> Any:
    """The class of one kind, imported now.

    Raises UnknownKind for a kind that nobody offers, or that two packages offer, and UnknownGroup.
    """
    if target := built_in(group).get(kind):
        module, _, name = target.partition(":")
        return getattr(import_module(module), name)
    points = entry_points(group=group, name=kind)
    if len(points) > 1:
        offers = ", ".join(sorted(point.value for point in points))
        raise UnknownKind(f"'{kind}' is offered more than once: {offers}; uninstall all but one")
    for point in points:
        return point.load()
    raise UnknownKind(f"there is no kind '{kind}'; there are: {', '.join(kinds(group)) or 'none'}")
