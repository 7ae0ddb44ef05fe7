"""Rails in a program of one's own: `from tidegate import Guard`."""

from __future__ import annotations

from typing import Any

from tidegate.guard.checked import Blocked, Checked
from tidegate.guard.guard import Guard
from tidegate.guard.named import (
    BanList,
    DetectJailbreak,
    DetectPII,
    DetectPromptInjection,
    NamedRail,
    RegexMatch,
    SecretsPresent,
    ToxicLanguage,
    ValidLength,
    class_of,
)

__all__ = [
    "BanList",
    "Blocked",
    "Checked",
    "DetectJailbreak",
    "DetectPII",
    "DetectPromptInjection",
    "Guard",
    "NamedRail",
    "RegexMatch",
    "SecretsPresent",
    "ToxicLanguage",
    "ValidLength",
]


def __getattr__(name: str) -> Any:
    """Return the class of a kind of rail, such as `TokenLimit` for `token_limit`."""
    found = class_of(name) if name[:1].isupper() else None
    if found is None:
        raise AttributeError(f"module 'tidegate.guard' has no attribute '{name}'")
    return found
