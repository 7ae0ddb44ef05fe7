"""The profiles that exist without being configured: `rules`, the default, `standard`, `strict`, and `moderation`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from tidegate.config.rails import MODERATION, RULES, STANDARD, STRICT, ProfileConfig

_RULES: Final[dict[str, Any]] = {
    "rails": [
        {"kind": "secrets", "surfaces": ["input", "output"], "on_fail": "redact"},
        {
            "kind": "injection",
            "surfaces": ["input", "retrieval", "tool"],
            "threshold": "high",
            "on_fail": "block",
        },
        # Masks break tools and code, so that personal data is only logged where nobody has decided otherwise.
        {"kind": "pii", "surfaces": ["input", "output"], "on_fail": "log"},
        {"kind": "hidden_text", "surfaces": ["input", "retrieval", "tool"], "on_fail": "log"},
    ]
}
_STANDARD: Final[dict[str, Any]] = {
    "rails": [
        *_RULES["rails"],
        # What a model finds is logged until somebody has seen how often it is wrong on texts of theirs. Since no finding of
        # it stops a text, a model that has too much to read does not, either.
        {"kind": "injection_detector", "on_fail": "log", "on_error": "open"},
        {"kind": "harm_detector", "on_fail": "log", "on_error": "open"},
        {"kind": "toxicity_detector", "on_fail": "log", "on_error": "open"},
    ]
}
"""The profile `rules`, and the detectors: one pass of a small model for each text."""
_STRICT: Final[dict[str, Any]] = {
    "rails": [
        {"kind": "secrets", "surfaces": ["input", "retrieval", "tool", "output"], "on_fail": "redact"},
        {"kind": "pii", "surfaces": ["input", "retrieval", "tool", "output"], "on_fail": "redact"},
        {
            "kind": "injection",
            "surfaces": ["input", "retrieval", "tool"],
            "threshold": "medium",
            "on_fail": "block",
        },
        {"kind": "hidden_text", "surfaces": ["input", "retrieval", "tool"], "on_fail": "block"},
    ]
}
_MODERATION: Final[dict[str, Any]] = {
    "rails": [
        {
            "kind": "toxicity",
            "surfaces": ["input"],
            "categories": ["insult", "hate", "threat", "sexual"],
            "on_fail": "block",
        },
        {"kind": "harm_detector", "surfaces": ["input"], "on_fail": "block"},
        {"kind": "toxicity_detector", "surfaces": ["input"], "on_fail": "block"},
    ]
}
"""Without `profanity`: OpenAI's models do not flag rude words that are aimed at nobody."""

BUILT_IN: Mapping[str, ProfileConfig] = MappingProxyType(
    {
        RULES: ProfileConfig.model_validate(_RULES),
        STANDARD: ProfileConfig.model_validate(_STANDARD),
        STRICT: ProfileConfig.model_validate(_STRICT),
        MODERATION: ProfileConfig.model_validate(_MODERATION),
    }
)
