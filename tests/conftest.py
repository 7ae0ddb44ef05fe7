"""Settings that all tests share: the event loop that is used in production."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The time of an example says nothing about the code: a first run builds tables, and CI shares its cores.
# Each run draws other examples, and most search the same few branches: what 60 do not find in many runs, `make fuzz` does.
settings.register_profile(
    "tidegate", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tidegate")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Tests marked `anyio` run on asyncio with uvloop, as the gateway does."""
    return "asyncio", {"use_uvloop": True}
