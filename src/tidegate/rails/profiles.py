"""The profiles that exist without being configured: `rules`, the default, and the stricter `strict`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tidegate.config.rails import RULES, STRICT, ProfileConfig

_BOTH = ["input", "output"]
BUILT_IN: Mapping[str, ProfileConfig] = MappingProxyType(
    {
        RULES: ProfileConfig.model_validate(
            {
                "rails": [
                    {"kind": "secrets", "on_fail": "redact", "surfaces": _BOTH},
                    {"kind": "pii", "on_fail": "log", "surfaces": _BOTH},
                ]
            }
        ),
        STRICT: ProfileConfig.model_validate(
            {
                "rails": [
                    {"kind": "secrets", "on_fail": "redact", "surfaces": _BOTH},
                    {"kind": "pii", "on_fail": "redact", "surfaces": _BOTH},
                ]
            }
        ),
    }
)
