"""One SQLite connection on a thread of its own, so that no statement ever runs on the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tidegate.errors import Overloaded

MOST_WAITING = 1000
"""How many pieces of work may wait for one connection. More are refused."""

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]


class ConnectionThread:
    """Runs pieces of work one after another, in the order in which they were given.

    A piece of work whose caller is cancelled while it waits does not run; one that has begun runs to its end.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None
        self._waiting = 0

    async def start(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Connect on the thread. Raises what `connect` raises; the thread has ended then."""
        try:
            self._connection = await asyncio.get_running_loop().run_in_executor(self._executor, connect)
        finally:
            if self._connection is None:
                self._executor.shutdown(wait=False)

    async def run(self, work: Work[T]) -> T:
        """Run a piece of work and return its result. Raises Overloaded if the database fails or too much work waits."""
        if self._connection is None:
            raise Overloaded("The store is closed")
        if self._waiting >= MOST_WAITING:
            raise Overloaded("The store has too much work")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work, self._connection)
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            if isinstance(error, sqlite3.ProgrammingError):
                raise
            failed = Overloaded("The store does not answer")
            failed.cause = str(error)
            raise failed from error
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Do the work that waits, then close the connection. Closing again has no effect."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        await asyncio.get_running_loop().run_in_executor(self._executor, connection.close)
        self._executor.shutdown()
