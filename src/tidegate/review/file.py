"""The file of cases and decisions: SQLite in WAL mode (https://www.sqlite.org/wal.html), which several processes share.

A case is on the disk before anybody waits for it. The first decision about a case is the only one: whoever comes second
gets the first one's. Rows are never changed, except that a decision closes its case.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from tidegate.config.review import MEMORY
from tidegate.errors import ConfigError, NotFound, Problem
from tidegate.review.place import no_folder
from tidegate.stores.local.thread import ConnectionThread
from tidegate.types import Case, Decision, Judged

APPLICATION_ID = 0x54494452
"""Marks a SQLite file as one of cases (https://www.sqlite.org/pragma.html#pragma_application_id): "TIDR"."""
VERSION = 1
BUSY_MS = 5000
"""How long a statement waits while another process writes."""
TABLES = (
    # AUTOINCREMENT: a number is never used again. `document` is the whole case as JSON.
    """CREATE TABLE IF NOT EXISTS cases (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        open INTEGER NOT NULL,
        rail TEXT NOT NULL,
        policy TEXT NOT NULL,
        model TEXT NOT NULL,
        document BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX IF NOT EXISTS open_cases ON cases (number) WHERE open = 1",
    """CREATE TABLE IF NOT EXISTS decisions (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE REFERENCES cases (id),
        document BLOB NOT NULL
    ) STRICT""",
)
STATES: Mapping[str, str] = MappingProxyType({"open": "open = 1", "decided": "open = 0", "all": "1"})
"""What of a list of cases is asked for."""

_case = msgspec.json.Decoder(Case).decode
_decision = msgspec.json.Decoder(Decision).decode
_FOUND = """SELECT cases.number, cases.document, decisions.number, decisions.document
    FROM cases LEFT JOIN decisions ON decisions.id = cases.id"""
Row = tuple[int, bytes, int | None, bytes | None]


class Wanted(NamedTuple):
    """Which cases are listed: those of a state, and of a rail, a policy and a model where these are given."""

    state: str = "open"
    rail: str = ""
    policy: str = ""
    model: str = ""


class News(NamedTuple):
    """The decisions since a number, by the id of their case, and how many cases are open now."""

    decisions: Mapping[str, Decision]
    open_cases: int


class CaseFile:
    """The cases and decisions. Every method raises Overloaded if the file cannot be read or written."""

    def __init__(self, path: Path) -> None:
        """`path` is the file, or `MEMORY`."""
        self._path = path
        self._thread = ConnectionThread("cases")

    async def open(self) -> None:
        """Open the file, and make it if it is not there. Raises ConfigError if it cannot be used."""
        if problems := no_folder(self._path):
            raise ConfigError("cannot start", problems)
        try:
            await self._thread.start(partial(_connect, self._path))
        except (sqlite3.Error, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            found = f"{self._path} cannot be used for cases: {why}; name another file"
            raise ConfigError("cannot start", [Problem("review.path", found)]) from error

    async def close(self) -> None:
        """Close the file. Closing again has no effect."""
        await self._thread.close()

    async def add(self, cases: Sequence[Case], *, most: int) -> bool:
        """Store cases, all of them or none. Returns whether they fit among the `most` open ones."""
        return await self._thread.run(partial(_add, cases=cases, most=most))

    async def decide(self, id: str, decision: Decision) -> tuple[Judged, bool]:
        """Decide about a case. Returns the case with the decision that holds, and whether it is this one.

        Raises NotFound.
        """
        return await self._thread.run(partial(_decide, id=id, decision=decision))

    async def find(self, id: str) -> Judged:
        """Return a case. Raises NotFound."""
        return await self._thread.run(partial(_find, id=id))

    async def page(self, wanted: Wanted, *, after: int = 0, most: int = 100) -> list[Judged]:
        """Return cases in the order in which they were made, those with a number above `after`."""
        return await self._thread.run(partial(_page, wanted=wanted, after=after, most=most))

    async def decided(self, *, after: int = 0, most: int = 100) -> list[Judged]:
        """Return cases in the order of their decisions, those with a decision whose number is above `after`."""
        return await self._thread.run(partial(_decided, after=after, most=most))

    async def newest(self) -> int:
        """Return the number of the last decision; 0 if there is none."""
        return await self._thread.run(_newest)

    async def news(self, *, after: int) -> News:
        """Return the decisions since a number, and how many cases are open."""
        return await self._thread.run(partial(_news, after=after))


def _connect(path: Path) -> sqlite3.Connection:
    if path != MEMORY:
        # SQLite gives its other files the mode of this one, which only the gateway's own user can read.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with ExitStack() as undo:
        # Transactions are begun by hand: the module would begin them late, and not before every statement.
        connection = sqlite3.connect(path, isolation_level=None)
        undo.callback(connection.close)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        _check_owner(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a case survives a power cut
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for statement in TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        undo.pop_all()
        return connection


def _check_owner(connection: sqlite3.Connection) -> None:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if owner != APPLICATION_ID and (owner or tables):
        raise sqlite3.DatabaseError("it is a database of another program")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise sqlite3.DatabaseError("a newer version of Tidegate wrote it")


def _add(connection: sqlite3.Connection, *, cases: Sequence[Case], most: int) -> bool:
    rows = [(one.id, one.rail, one.policy, one.model, _encoded(one)) for one in cases]
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if _open_cases(connection) + len(rows) > most:
            return False
        connection.executemany(
            "INSERT INTO cases (id, open, rail, policy, model, document) VALUES (?, 1, ?, ?, ?, ?)", rows
        )
    return True


def _decide(connection: sqlite3.Connection, *, id: str, decision: Decision) -> tuple[Judged, bool]:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        known = _find(connection, id=id)
        if known.decision is not None:
            return known, False
        connection.execute("INSERT INTO decisions (id, document) VALUES (?, ?)", (id, _encoded(decision)))
        connection.execute("UPDATE cases SET open = 0 WHERE id = ?", (id,))
    return _find(connection, id=id), True


def _find(connection: sqlite3.Connection, *, id: str) -> Judged:
    row = connection.execute(f"{_FOUND} WHERE cases.id = ?", (_bound(id),)).fetchone()
    if row is None:
        raise NotFound(f"There is no case '{id[:60]}': see `tidegate review list`", param="id")
    return _judged(row)


def _page(connection: sqlite3.Connection, *, wanted: Wanted, after: int, most: int) -> list[Judged]:
    statement = f"""{_FOUND} WHERE {STATES[wanted.state]} AND cases.number > ?
        AND (? = '' OR rail = ?) AND (? = '' OR policy = ?) AND (? = '' OR model = ?)
        ORDER BY cases.number LIMIT ?"""
    rail, policy, model = map(_bound, wanted[1:])
    given = (after, rail, rail, policy, policy, model, model, most)
    return [_judged(row) for row in connection.execute(statement, given)]


def _decided(connection: sqlite3.Connection, *, after: int, most: int) -> list[Judged]:
    statement = f"{_FOUND} WHERE decisions.number > ? ORDER BY decisions.number LIMIT ?"
    return [_judged(row) for row in connection.execute(statement, (after, most))]


def _newest(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute("SELECT coalesce(max(number), 0) FROM decisions").fetchone()
    return int(number)


def _news(connection: sqlite3.Connection, *, after: int) -> News:
    statement = "SELECT id, number, document FROM decisions WHERE number > ? ORDER BY number"
    found = {name: _told(number, text) for name, number, text in connection.execute(statement, (after,))}
    return News(found, _open_cases(connection))


def _open_cases(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM cases WHERE open = 1").fetchone()
    return int(count)


def _judged(row: Row) -> Judged:
    number, case, decision_number, decision = row
    told = None if decision is None or decision_number is None else _told(decision_number, decision)
    return Judged(number, _case(case), told)


def _told(number: int, document: bytes) -> Decision:
    return msgspec.structs.replace(_decision(document), number=number)


def _encoded(one: Case | Decision) -> bytes:
    return msgspec.json.encode(one)


def _bound(text: str) -> str:
    """Return a text that SQLite takes. It takes UTF-8, so no row has what is lost here."""
    return text.encode("utf-8", "replace").decode()
