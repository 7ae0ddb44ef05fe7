"""Counts of days and months in the local store. Every value reaches SQLite as a bound parameter."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial

from tidegate.stores.local.thread import ConnectionThread
from tidegate.types import PeriodCount

_MOST = 2**63 - 1
"""The largest number that SQLite stores."""

Row = tuple[bytes, int, int, int]


class LocalCounts:
    """The CountStore of the local store."""

    def __init__(self, writer: ConnectionThread, reader: ConnectionThread) -> None:
        self._writer = writer
        self._reader = reader

    async def read(self, *, after: float) -> Sequence[PeriodCount]:
        """Return the counts whose periods end after a time, in seconds since the epoch."""
        return await self._reader.run(partial(_read, after=after))

    async def write(self, counts: Sequence[PeriodCount], *, ended: float) -> None:
        """Replace the counts of the same buckets, and delete those whose periods have ended at `ended` or before."""
        rows = [(_bytes(one.bucket), one.since, one.until, min(one.used, _MOST)) for one in counts]
        await self._writer.run(partial(_write, rows=rows, ended=ended))


def _read(connection: sqlite3.Connection, *, after: float) -> list[PeriodCount]:
    statement = "SELECT bucket, since, until, used FROM counts WHERE until > ?"
    return [
        PeriodCount(_text(bucket), *numbers) for bucket, *numbers in connection.execute(statement, (after,))
    ]


def _write(connection: sqlite3.Connection, *, rows: Sequence[Row], ended: float) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            """INSERT INTO counts (bucket, since, until, used) VALUES (?, ?, ?, ?) ON CONFLICT (bucket) DO UPDATE
                SET since = excluded.since, until = excluded.until, used = excluded.used""",
            rows,
        )
        connection.execute("DELETE FROM counts WHERE until <= ?", (ended,))


def _bytes(bucket: str) -> bytes:
    # A text of JSON may have half a surrogate pair.
    return bucket.encode("utf-8", "surrogatepass")


def _text(bucket: bytes) -> str:
    return bucket.decode("utf-8", "surrogatepass")
