"""The local store as a Store: one thread that writes, one that reads, and the file that both have open."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import ClassVar

from tidegate.config import LocalStoreConfig
from tidegate.errors import Overloaded
from tidegate.ports import Cache, CountStore, Host, KeyStore, Limiter, Neighbours, Wall
from tidegate.stores.local.counts import LocalCounts
from tidegate.stores.local.keys import LocalKeys
from tidegate.stores.local.schema import migrate, unusable
from tidegate.stores.local.thread import ConnectionThread

BUSY_MS = 5000
"""How long a statement waits while another process writes."""
POLL_S = 0.25
"""How often the log is looked at for changes by other processes."""


class LocalStore:
    """One SQLite file. Only the gateway's own user can read it.

    The file is in WAL mode (https://www.sqlite.org/wal.html), so reads do not wait for writes, and the file has to be on a
    local disk.
    """

    Config: ClassVar[type[LocalStoreConfig]] = LocalStoreConfig

    def __init__(self, config: LocalStoreConfig, *, poll_s: float = POLL_S) -> None:
        self._path = config.path
        self._poll_s = poll_s
        self._writer = ConnectionThread("store-writer")
        self._reader = ConnectionThread("store-reader")
        self._keys: LocalKeys | None = None
        self._counts: LocalCounts | None = None
        self._opened: tuple[int, int] | None = None

    async def open(self, host: Host) -> None:
        """Open the file; see `start`."""
        await self.start(host.wall)

    async def start(self, wall: Wall) -> None:
        """Open the file, and make it if it is not there. Raises ConfigError if it cannot be used."""
        try:
            await self._writer.start(partial(_open_to_write, self._path))
            await self._reader.start(partial(_connect, self._path, readonly=True))
        except (sqlite3.Error, OSError) as error:
            await self._writer.close()
            raise unusable(self._path, f"cannot be used as a store: {_reason(error)}") from error
        self._opened = _file(self._path)
        self._keys = LocalKeys(self._writer, self._reader, wall=wall, poll_s=self._poll_s)
        self._counts = LocalCounts(self._writer, self._reader)

    async def close(self) -> None:
        """Write what waits, and close the file. Closing again has no effect."""
        if self._keys is not None:
            self._keys.close()
        await self._reader.close()
        await self._writer.close()

    async def ready(self) -> bool:
        """Return whether the file can be read and written, and is still the one that was opened."""
        try:
            await self._reader.run(_try_to_read)
            await self._writer.run(_try_to_write)
        except Overloaded:
            return False
        return _file(self._path) == self._opened

    def keys(self) -> KeyStore | None:
        """Return the keys; None before the store is open."""
        return self._keys

    def counts(self) -> CountStore | None:
        """Return the counts of days and months; None before the store is open."""
        return self._counts

    def limiter(self) -> Limiter | None:
        """Return None: one process has this file, and reserves quotas in its own memory."""
        return None

    def cache(self) -> Cache | None:
        """Return None: answers are not stored here."""
        return None

    def neighbours(self) -> Neighbours | None:
        """Return None: vectors are not stored here."""
        return None


def _open_to_write(path: Path) -> sqlite3.Connection:
    # SQLite gives its other files the mode of this one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with ExitStack() as undo:
        connection = _connect(path, readonly=False)
        undo.callback(connection.close)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a revocation survives a power cut
        migrate(connection, path)
        undo.pop_all()
        return connection


def _connect(path: Path, *, readonly: bool) -> sqlite3.Connection:
    # Transactions are begun by hand: the module would begin them late, and not before every statement.
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    if readonly:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _try_to_read(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT 1 FROM keys LIMIT 1").fetchone()


def _try_to_write(connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")


def _file(path: Path) -> tuple[int, int] | None:
    """What identifies the file that stands at a path; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
