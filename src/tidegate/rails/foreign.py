"""Runs the code of rails. A rail may come from anyone and raise anything, so every exception of one is caught here."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def attempted(work: Callable[[], T], failed: Callable[[BaseException], T]) -> T:
    """Return what `work` returns, or what `failed` returns or raises for its exception."""
    try:
        return work()
    except (Exception, CancelledError) as error:  # noqa: BLE001
        return failed(error)
