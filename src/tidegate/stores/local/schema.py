"""The tables of the local store. Migrations only go forward; the number of those that were applied is in the file.

To change the tables, append a migration. A migration that has been released never changes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from tidegate.errors import ConfigError, Problem

APPLICATION_ID = 0x54494447
"""Marks a SQLite file as a store of Tidegate (https://www.sqlite.org/pragma.html#pragma_application_id): "TIDG"."""

MIGRATIONS: Sequence[Sequence[str]] = (
    (
        # `document` is the whole key as JSON; the other columns are those that statements need.
        """CREATE TABLE keys (
            id TEXT PRIMARY KEY,
            organisation TEXT NOT NULL,
            version INTEGER NOT NULL,
            document BLOB NOT NULL,
            used_at REAL
        ) STRICT""",
        "CREATE INDEX keys_by_organisation ON keys (organisation, id)",
        """CREATE TABLE tenants (
            organisation TEXT NOT NULL,
            team TEXT NOT NULL,
            user TEXT NOT NULL,
            policy TEXT NOT NULL,
            PRIMARY KEY (organisation, team, user)
        ) STRICT""",
        # AUTOINCREMENT: a number is never used again.
        """CREATE TABLE log (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            made_by TEXT NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL
        ) STRICT""",
        """CREATE TRIGGER log_is_not_changed BEFORE UPDATE ON log
            BEGIN SELECT RAISE(ABORT, 'the admin log is append-only'); END""",
        """CREATE TRIGGER log_is_not_deleted BEFORE DELETE ON log
            BEGIN SELECT RAISE(ABORT, 'the admin log is append-only'); END""",
    ),
    (
        # `bucket` is no TEXT, since end users name themselves with any text.
        """CREATE TABLE counts (
            bucket BLOB PRIMARY KEY,
            since INTEGER NOT NULL,
            until INTEGER NOT NULL,
            used INTEGER NOT NULL
        ) STRICT""",
        "CREATE INDEX counts_by_end ON counts (until)",
    ),
    (
        # At most one row: the mark of the pepper that the newest digest was made with.
        "CREATE TABLE pepper (only INTEGER PRIMARY KEY CHECK (only = 1), mark BLOB NOT NULL) STRICT",
    ),
)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the tables up to date, each migration in one transaction. Raises ConfigError for a file that is not ours."""
    _check_owner(connection, path)
    while (applied := _version(connection)) != len(MIGRATIONS):
        if applied > len(MIGRATIONS):
            raise unusable(
                path,
                f"a newer version of Tidegate wrote it (schema {applied}; this version knows {len(MIGRATIONS)}):"
                " upgrade Tidegate, or name another file",
            )
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if _version(connection) == applied:  # another process may have been faster
                for statement in MIGRATIONS[applied]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {applied + 1}")


def unusable(path: Path, why: str) -> ConfigError:
    """The error for a file that cannot be used as a store."""
    return ConfigError(str(path), [Problem("store", why)])


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if owner != APPLICATION_ID and (owner or tables):
        raise unusable(path, "is a database of another program: name another file")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
