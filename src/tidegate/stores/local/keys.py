"""Keys, tenants and the admin log in the local store. Every value reaches SQLite as a bound parameter."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from tidegate.errors import Overloaded
from tidegate.ports import Wall
from tidegate.stores.local.thread import ConnectionThread, Work
from tidegate.types import Change, Key, Tenant

MOST_CHANGES = 1000
"""How many changes are told one by one; more at once are a gap."""
TENANT_SET = "tenant set"

_decode = msgspec.json.Decoder(Key).decode


class LocalKeys:
    """The KeyStore of the local store."""

    def __init__(
        self, writer: ConnectionThread, reader: ConnectionThread, *, wall: Wall, poll_s: float
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._wall = wall
        self._poll_s = poll_s
        self._listeners: set[asyncio.Event] = set()
        self._closed = False

    def close(self) -> None:
        """End `changes` wherever it is listened to."""
        self._closed = True
        self._wake()

    async def find(self, id: str) -> Key | None:
        """Return the key with this id, with the time of its last use and the tenants above it."""
        try:
            return await self._reader.run(partial(_find, id=id))
        except UnicodeEncodeError:  # SQLite takes UTF-8, so no key has such an id
            return None

    async def page(self, organisation: str, *, after: str = "", most: int = 100) -> Sequence[Key]:
        """Return keys in the order of their ids, without the tenants above them."""
        statement = "SELECT document, used_at FROM keys WHERE (? = '' OR organisation = ?) AND id > ? ORDER BY id LIMIT ?"
        rows = await self._reader.run(_all(statement, organisation, organisation, after, most))
        return [_key(document, used_at) for document, used_at in rows]

    async def tenants(
        self, organisation: str, *, after: Tenant | None = None, most: int = 100
    ) -> Sequence[Tenant]:
        """Return tenants in the order of their names."""
        last = (after.organisation, after.team, after.user) if after is not None else ("", "", "")
        statement = """SELECT organisation, team, user, policy FROM tenants
            WHERE (? = '' OR organisation = ?) AND (organisation, team, user) > (?, ?, ?)
            ORDER BY organisation, team, user LIMIT ?"""
        rows = await self._reader.run(_all(statement, organisation, organisation, *last, most))
        return [Tenant(*row) for row in rows]

    async def log(self, *, after: int = 0, most: int = 100) -> Sequence[Change]:
        """Return lines of the admin log in the order in which they were written."""
        statement = "SELECT number, at, made_by, action, subject, detail FROM log WHERE number > ? ORDER BY number LIMIT ?"
        return [Change(*row) for row in await self._reader.run(_all(statement, after, most))]

    async def save(self, key: Key, *, over: int | None, by: str) -> bool:
        """Save a key over a version of it, or as a new one, and write the log. Raises ValueError for a wrong version."""
        if key.version != (over or 0) + 1:
            raise ValueError(f"version {key.version} of a key cannot follow version {over or 0}")
        saved = await self._writer.run(partial(_save, key=key, over=over, at=self._wall(), by=by))
        self._wake()
        return saved

    async def set_tenant(self, tenant: Tenant, *, by: str) -> None:
        """Make a tenant, or give it another policy, and write the log. Raises ValueError without an organisation."""
        if not tenant.organisation:
            raise ValueError("a tenant needs an organisation")
        await self._writer.run(partial(_set_tenant, tenant=tenant, at=self._wall(), by=by))
        self._wake()

    async def keep_mark(self, marks: Sequence[bytes]) -> bool:
        """Keep the first mark of a pepper, unless one is kept that is not among them. Return whether it is kept now."""
        return await self._writer.run(partial(_keep_mark, marks=marks))

    async def used(self, at: Mapping[str, float]) -> None:
        """Record times of last use; an earlier time than the recorded one has no effect."""
        rows = [(when, key_id) for key_id, when in at.items()]
        await self._writer.run(partial(_used, rows=rows))

    async def changes(self) -> AsyncGenerator[str, None]:
        """Yield the ids of keys that have changed; changes by other processes are seen within a quarter of a second."""
        woken = asyncio.Event()
        self._listeners.add(woken)
        try:
            last = await self._newest()
            yield ""
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await woken.wait()
                woken.clear()
                if self._closed:
                    raise Overloaded("The store is closed")
                newest = await self._newest()
                if newest == last:
                    continue
                for changed in await self._changed(last, newest):
                    yield changed
                last = newest
        finally:
            self._listeners.discard(woken)

    async def _newest(self) -> int:
        [(number,)] = await self._reader.run(_all("SELECT coalesce(max(number), 0) FROM log"))
        return int(number)

    async def _changed(self, last: int, newest: int) -> list[str]:
        """The ids of keys with changes after `last`, up to `newest`; one empty id if they cannot be told one by one."""
        if not last < newest <= last + MOST_CHANGES:  # a number that falls is a file that was put back
            return [""]
        statement = "SELECT action, subject FROM log WHERE number > ? AND number <= ? ORDER BY number"
        rows = await self._reader.run(_all(statement, last, newest))
        return list(dict.fromkeys("" if action == TENANT_SET else subject for action, subject in rows))

    def _wake(self) -> None:
        for woken in self._listeners:
            woken.set()


def _all(statement: str, *values: Any) -> Work[list[Any]]:
    return lambda connection: connection.execute(statement, values).fetchall()


def _find(connection: sqlite3.Connection, id: str) -> Key | None:
    row = connection.execute("SELECT document, used_at FROM keys WHERE id = ?", (id,)).fetchone()
    if row is None:
        return None
    key = _key(*row)
    organisation, team, user = key.caller.organisation, key.caller.team, key.caller.user
    above = connection.execute(
        """SELECT organisation, team, user, policy FROM tenants
            WHERE (organisation, team, user) IN (VALUES (?, ?, ?), (?, ?, ''), (?, '', ''))
            ORDER BY user = '', team = ''""",
        (organisation, team, user, organisation, team, organisation),
    ).fetchall()
    return msgspec.structs.replace(key, above=tuple([Tenant(*row) for row in above]))


def _save(connection: sqlite3.Connection, *, key: Key, over: int | None, at: float, by: str) -> bool:
    kept = msgspec.structs.replace(key, used_at=None, above=())
    document = msgspec.json.encode(kept)
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        before = connection.execute("SELECT document, used_at FROM keys WHERE id = ?", (key.id,)).fetchone()
        old = _key(*before) if before is not None else None
        if (old.version if old is not None else None) != over:
            return False
        connection.execute(
            """INSERT INTO keys (id, organisation, version, document) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
                SET organisation = excluded.organisation, version = excluded.version, document = excluded.document""",
            (key.id, key.caller.organisation, key.version, document),
        )
        _write_log(connection, at, by, (_action(old, kept), key.id, _told(kept)))
    return True


def _set_tenant(connection: sqlite3.Connection, *, tenant: Tenant, at: float, by: str) -> None:
    names = (tenant.organisation, tenant.team, tenant.user)
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            """INSERT INTO tenants (organisation, team, user, policy) VALUES (?, ?, ?, ?)
                ON CONFLICT DO UPDATE SET policy = excluded.policy""",
            (*names, tenant.policy),
        )
        subject = "/".join(names).rstrip("/")
        _write_log(connection, at, by, (TENANT_SET, subject, msgspec.json.encode(tenant).decode()))


def _keep_mark(connection: sqlite3.Connection, *, marks: Sequence[bytes]) -> bool:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        kept = connection.execute("SELECT mark FROM pepper").fetchone()
        if kept is not None and kept[0] not in marks:
            return False
        if kept is None or kept[0] != marks[0]:
            connection.execute("INSERT OR REPLACE INTO pepper (only, mark) VALUES (1, ?)", (marks[0],))
    return True


def _used(connection: sqlite3.Connection, *, rows: Sequence[tuple[float, str]]) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("UPDATE keys SET used_at = max(coalesce(used_at, 0), ?) WHERE id = ?", rows)


def _write_log(connection: sqlite3.Connection, at: float, by: str, told: tuple[str, str, str]) -> None:
    connection.execute(
        "INSERT INTO log (at, made_by, action, subject, detail) VALUES (?, ?, ?, ?, ?)", (at, by, *told)
    )


def _action(old: Key | None, new: Key) -> str:
    if old is None:
        return "key created"
    if old.revoked_at is None and new.revoked_at is not None:
        return "key revoked"
    return (
        "key rotated" if [s.digest for s in old.secrets] != [s.digest for s in new.secrets] else "key changed"
    )


def _told(key: Key) -> str:
    """The key as JSON for the log: of its secrets only the times, so that the log opens nothing."""
    tree = msgspec.to_builtins(key, order="deterministic")
    for secret in tree["secrets"]:
        del secret["digest"]
    return msgspec.json.encode(tree).decode()


def _key(document: bytes, used_at: float | None) -> Key:
    return msgspec.structs.replace(_decode(document), used_at=used_at)
