"""Runs the code of rails. A rail may come from anyone and raise anything, so every exception of one is caught here."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def attempted(work: Callable[[], T], failed: Callable[[BaseException], T]) -> T:
    """Return what `work` returns, or what `failed` returns or raises for its exception."""
    try:
        return work()
    except (Exception, CancelledError) as error:  # noqa: BLE001
        return failed(error)


async def awaited(work: Awaitable[T], failed: Callable[[BaseException], T]) -> T:
    """Return the result of `work`, or what `failed` returns for its exception. A cancellation is that of the caller."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001
        return failed(error)
