"""Runs the code of parts. A part may come from anyone and raise anything, so every exception of one is caught here."""

from __future__ import annotations

from asyncio import CancelledError, current_task
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def attempted(work: Callable[[], T], failed: Callable[[BaseException], T]) -> T:
    """Return what `work` returns, or what `failed` returns or raises for its exception."""
    try:
        return work()
    except (Exception, CancelledError) as error:  # noqa: BLE001
        return failed(error)


async def awaited(work: Awaitable[T], failed: Callable[[BaseException], U]) -> T | U:
    """Return the result of `work`, or what `failed` returns for its exception. The cancellation of the caller is raised."""
    try:
        return await work
    except CancelledError as error:
        # A task group would take it for the end of a check that nobody needs, and the text would pass.
        task = current_task()
        if task is None or task.cancelling():
            raise
        return failed(error)
    except Exception as error:  # noqa: BLE001
        return failed(error)
