"""The local store's own promises: its file, its migrations, its readiness, and that its log cannot be changed."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import time

import pytest

from tidegate.config import LocalStoreConfig
from tidegate.errors import ConfigError, Overloaded
from tidegate.stores.local import LocalStore, schema, thread
from tidegate.types import Caller, Key, PeriodCount, Secret

pytestmark = pytest.mark.anyio

KEY = Key(id="k1", secrets=(Secret(b"digest"),), caller=Caller(key="k1"))
COUNT = PeriodCount("key:k1/requests_per_day", 0, 86_400, 7)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tidegate.db"


@pytest.fixture
async def store(path):
    opened = LocalStore(LocalStoreConfig(kind="local", path=path))
    await opened.start(time.time)
    yield opened
    await opened.close()


def execute(path, statement: str) -> list:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


async def refusal(path) -> str:
    store = LocalStore(LocalStoreConfig(kind="local", path=path))
    with pytest.raises(ConfigError) as refused:
        await store.start(time.time)
    assert not await store.ready()
    await store.close()
    return str(refused.value)


async def test_only_the_owner_can_read_the_files(store, path):
    await store.keys().save(KEY, over=None, by="")
    files = list(path.parent.iterdir())
    assert len(files) > 1
    assert [oct(stat.S_IMODE(file.stat().st_mode)) for file in files] == ["0o600"] * len(files)


async def test_it_is_in_wal_mode_and_one_file_once_it_is_closed(store, path):
    assert execute(path, "PRAGMA journal_mode") == [("wal",)]
    await store.keys().save(KEY, over=None, by="")
    await store.close()
    await store.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert execute(path, "SELECT id FROM keys") == [("k1",)]


async def test_a_newer_schema_is_refused_with_the_way_out(store, path):
    await store.close()
    execute(path, f"PRAGMA user_version = {len(schema.MIGRATIONS) + 6}")
    said = await refusal(path)
    assert str(path) in said
    assert f"schema {len(schema.MIGRATIONS) + 6}" in said
    assert "upgrade Tidegate" in said
    assert execute(path, "PRAGMA user_version") == [(len(schema.MIGRATIONS) + 6,)]


async def test_a_file_of_another_program_is_left_as_it_is(path):
    execute(path, "CREATE TABLE theirs (a)")
    before = path.read_bytes()
    assert "another program" in await refusal(path)
    assert [row[0] for row in execute(path, "SELECT name FROM sqlite_schema")] == ["theirs"]
    assert len(path.read_bytes()) == len(before)


@pytest.mark.parametrize("content", [b"not a database, but long enough to have a header" * 40, b"\0" * 4096])
async def test_a_file_that_is_no_database_is_refused(path, content):
    path.write_bytes(content)
    said = await refusal(path)
    assert str(path) in said
    assert path.read_bytes() == content


async def test_a_folder_that_is_not_there_is_named(tmp_path):
    said = await refusal(tmp_path / "absent" / "tidegate.db")
    assert "No such file or directory" in said
    assert "absent" in await refusal(tmp_path / "absent" / "tidegate.db")


async def test_a_folder_is_no_store(tmp_path):
    assert "cannot be used as a store" in await refusal(tmp_path)


async def test_migrations_are_applied_once_and_in_order(store, path, monkeypatch):
    await store.keys().save(KEY, over=None, by="")
    await store.close()
    monkeypatch.setattr(
        schema,
        "MIGRATIONS",
        (*schema.MIGRATIONS, ("ALTER TABLE tenants ADD COLUMN note TEXT",), ("CREATE TABLE more (a)",)),
    )
    for _ in range(2):
        again = LocalStore(LocalStoreConfig(kind="local", path=path))
        await again.start(time.time)
        assert await again.keys().find("k1") == KEY
        await again.close()
    assert execute(path, "PRAGMA user_version") == [(len(schema.MIGRATIONS),)]


async def test_a_file_of_the_first_schema_gets_the_counts(path, monkeypatch):
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    first = LocalStore(LocalStoreConfig(kind="local", path=path))
    await first.start(time.time)
    await first.keys().save(KEY, over=None, by="")
    await first.close()
    monkeypatch.undo()
    again = LocalStore(LocalStoreConfig(kind="local", path=path))
    await again.start(time.time)
    await again.counts().write([COUNT], ended=0)
    assert list(await again.counts().read(after=0)) == [COUNT]
    assert await again.keys().find("k1") == KEY
    await again.close()


async def test_a_migration_that_fails_leaves_no_half(store, path, monkeypatch):
    await store.close()
    before = len(schema.MIGRATIONS)
    broken = ("CREATE TABLE more (a)", "CREATE TABLE keys (a)")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
    assert "already exists" in await refusal(path)
    assert execute(path, "PRAGMA user_version") == [(before,)]
    assert execute(path, "SELECT name FROM sqlite_schema WHERE name = 'more'") == []


async def test_two_that_open_a_new_file_at_once_both_succeed(path):
    stores = [LocalStore(LocalStoreConfig(kind="local", path=path)) for _ in range(4)]
    await asyncio.gather(*(store.start(time.time) for store in stores))
    assert [await store.ready() for store in stores] == [True] * 4
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM log",
        "DELETE FROM log WHERE number = 1",
        "UPDATE log SET made_by = 'somebody else'",
        "UPDATE log SET number = 7",
    ],
)
async def test_the_log_can_only_grow(store, path, statement):
    await store.keys().save(KEY, over=None, by="ann")
    before = await store.keys().log()
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        execute(path, statement)
    assert await store.keys().log() == before


async def test_it_is_ready_while_it_can_be_read_and_written(store, path):
    assert await store.ready()
    await store.close()
    assert not await store.ready()


async def test_it_is_not_ready_once_its_file_was_removed_or_replaced(store, path):
    assert await store.ready()
    path.rename(path.with_name("moved"))
    assert not await store.ready()
    path.write_bytes(b"")
    assert not await store.ready()


async def test_it_is_not_ready_before_it_is_open(path):
    store = LocalStore(LocalStoreConfig(kind="local", path=path))
    assert not await store.ready()
    assert (store.keys(), store.counts()) == (None, None)
    assert (store.limiter(), store.cache(), store.neighbours()) == (None, None, None)


async def test_a_file_that_breaks_is_told_as_a_store_that_does_not_answer(store, path):
    await store.keys().save(KEY, over=None, by="")
    execute(path, "DROP TABLE keys")
    with pytest.raises(Overloaded) as refused:
        await store.keys().find("k1")
    assert "no such table" in refused.value.cause
    assert "table" not in refused.value.message
    assert not await store.ready()


async def test_too_much_work_is_refused(store, monkeypatch):
    monkeypatch.setattr(thread, "MOST_WAITING", 5)
    found = await asyncio.gather(*(store.keys().find(str(n)) for n in range(20)), return_exceptions=True)
    assert [type(one) for one in found].count(Overloaded) == 15
    assert await store.keys().find("k1") is None


async def test_reads_do_not_wait_for_a_writer(store, path):
    await store.keys().save(KEY, over=None, by="")
    blocker = sqlite3.connect(path, isolation_level=None)
    try:
        blocker.execute("BEGIN IMMEDIATE")
        assert await store.keys().find("k1") == KEY
    finally:
        blocker.close()
