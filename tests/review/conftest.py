"""These tests use the rails of `railed/made.py`."""

from __future__ import annotations

from railed.conftest import _installed  # pyright: ignore[reportPrivateUsage]

__all__ = ["_installed"]
