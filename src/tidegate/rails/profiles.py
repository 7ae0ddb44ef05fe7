"""The profiles that exist without being configured: `rules`, the default, and the stricter `strict`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tidegate.config.rails import RULES, STRICT, ProfileConfig

BUILT_IN: Mapping[str, ProfileConfig] = MappingProxyType({RULES: ProfileConfig(), STRICT: ProfileConfig()})
