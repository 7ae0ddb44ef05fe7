"""The exit stack of a call, which releases the call's resources."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

EXIT_S = 10.0
"""The longest time in seconds that one release may take after its call was cancelled."""


class Exit:
    """The releases of a call's resources. `async with call.exit` runs them at the end in any case, last in first out.

    Each release gets the error that ended the call, or None, and may return an awaitable. A release never waits for a
    network: data that has to be sent is queued in the runtime. All releases run even if one fails. A cancellation does not
    interrupt a release that is being awaited. (contextlib.AsyncExitStack does not promise this, and costs several times as
    much.)
    """

    __slots__ = ("_releases",)

    def __init__(self) -> None:
        self._releases: list[Callable[[BaseException | None], Awaitable[None] | None]] = []

    def push(self, release: Callable[[BaseException | None], Awaitable[None] | None]) -> None:
        """Add a release. It will run before the releases that were pushed earlier."""
        self._releases.append(release)

    def task(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start a task that belongs to the call. When the call ends, the task is cancelled and awaited."""
        task = asyncio.get_running_loop().create_task(work, name=name)

        async def end() -> None:
            task.cancel()
            await asyncio.wait([task])

        self.push(lambda _: None if task.done() else end())
        return task

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while self._releases:
                waiting = self._releases.pop()(error)
                if waiting is not None:
                    await _uncut(waiting)
        finally:
            if self._releases:  # a release failed: run the remaining ones
                await self.__aexit__(kind, error, trace)


async def _uncut(waiting: Awaitable[None]) -> None:
    """Await `waiting` to its end, even if this task is cancelled meanwhile. Raise the cancellation afterwards."""
    task = asyncio.ensure_future(waiting)  # noqa: TID251 - awaited right here
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            done, _ = await asyncio.wait([task], timeout=None if cancelled is None else EXIT_S)
        except asyncio.CancelledError as again:
            cancelled = again
        else:
            if not done:
                task.cancel()
    if cancelled is not None:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        raise cancelled
    task.result()
