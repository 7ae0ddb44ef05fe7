"""Which setting of a rail is the threshold that its scores are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel

from tidegate.config.rails import RailConfig
from tidegate.ops.evals.thresholds import Setting

CHANNELS: Final[Mapping[str, str]] = {
    "input": "user",
    "system": "user",
    "retrieval": "document",
    "tool": "tool_output",
    "output": "model_output",
}
"""The keys under which a rail has a threshold for each channel, by the surface."""
_NUMBERS: Final = ("threshold", "score_threshold")
_MAP: Final = "thresholds"


def setting_of(config: RailConfig, surface: str) -> Setting | None:
    """Return the setting that is compared with scores from 0 to 1. None if a rail has none, or only words for it.

    That is a number, or in a map of channels that of the surface, or a whole map by category.
    """
    for name in _NUMBERS:
        field = type(config).model_fields.get(name)
        if field is not None and (field.annotation is float or float in get_args(field.annotation)):
            return Setting(config.kind, name, getattr(config, name))
    field = type(config).model_fields.get(_MAP)
    if field is None:
        return None
    known = _entries(getattr(config, _MAP))
    if (channel := CHANNELS[surface]) in _keys(field.annotation):
        return Setting(config.kind, _MAP, known.get(channel), key=channel)
    return Setting(config.kind, _MAP, None, categories=known)


def _keys(annotation: Any) -> frozenset[str]:
    """Return the keys that the type of a map allows, empty where that does not name them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return frozenset(annotation.model_fields)
    if get_origin(annotation) is Literal:
        return frozenset(map(str, get_args(annotation)))
    # Of `Mapping[Literal[...], float]`, and of `None` beside it.
    return frozenset[str]().union(*(_keys(one) for one in get_args(annotation)))


def _entries(value: Any) -> Mapping[str, float]:
    """Return the thresholds that a map has. Those that are not set are left out."""
    found: Mapping[str, Any] = value.model_dump() if isinstance(value, BaseModel) else value or {}
    return {str(key): one for key, one in found.items() if isinstance(one, float | int)}
