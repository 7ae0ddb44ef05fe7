"""Both ends of a line in one process, over a real socket pair."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from tidegate.workers.line import Handlers, Line


@asynccontextmanager
async def line_to(handlers: Handlers) -> AsyncIterator[Line]:
    """Yield a line to a side with these handlers. All spawned tasks run in one task group, as in a worker."""
    ours, theirs = socket.socketpair()
    async with asyncio.TaskGroup() as group:

        def spawn(work: Coroutine[Any, Any, None], *, name: str) -> None:
            group.create_task(work, name=name)

        asking = await Line.over(ours, handlers, spawn)
        answering = await Line.over(theirs, handlers, spawn)
        listening = [group.create_task(line.listen()) for line in (asking, answering)]
        yield asking
        for task in listening:
            task.cancel()
