"""What every test shares: the event loop that production runs on."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Tests marked `anyio` run on asyncio with uvloop, as the gateway does."""
    return "asyncio", {"use_uvloop": True}
