"""Stores as the runtime lends them: opened once, kept by a reload that changes others, closed with the last user."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tidegate.config import load
from tidegate.errors import ConfigError
from tidegate.gateway import Gateway
from tidegate.runtime import Runtime
from tidegate.types import Ticket

pytestmark = pytest.mark.anyio


def write(path: Path, store: Path | None, **sections: Any) -> None:
    tree = {
        "auth": {"pepper": "the pepper of these tests"},
        "engines": {"e": {"kind": "scripted"}},
        "models": {"m": {"deployments": [{"engine": "e"}]}},
        "stores": {"main": {"kind": "local", "path": str(store)}} if store else {},
        **sections,
    }
    path.write_text(json.dumps(tree))


async def test_a_reload_keeps_an_open_store_whatever_was_written_into_it(tmp_path: Path) -> None:
    path, store = tmp_path / "tidegate.yaml", tmp_path / "keys.db"
    write(path, store)
    async with Gateway(load(path), path=path) as gateway:
        directory, first = gateway.runtime.directory, gateway.snapshot.stores["main"]
        store.with_suffix(".note").touch()
        write(
            path,
            store,
            policies={"p": {}},
            auth={"pepper": ["the next pepper of the tests"], "max_stale_s": 3},
        )
        await gateway.reload()
        assert gateway.snapshot.stores["main"] is first
        assert gateway.runtime.directory is directory
        assert directory.stored is first.keys
        write(path, tmp_path / "other.db")
        await gateway.reload()
        second = gateway.snapshot.stores["main"]
        assert second is not first
        assert directory.stored is second.keys
        while first.ready:  # the last snapshot that uses it gives it back in the background
            await first.probe()
        write(path, None)
        await gateway.reload()
        assert (directory.stored, gateway.snapshot.stores) == (None, {})
    assert not await second.store.ready()


async def test_a_reload_that_is_refused_leaves_the_store_and_the_keys_as_they_are(tmp_path: Path) -> None:
    path, store = tmp_path / "tidegate.yaml", tmp_path / "keys.db"
    write(path, store, keys={"k": {"secret": "the-secret-of-a-key"}})
    async with Gateway(load(path), path=path) as gateway:
        directory, first = gateway.runtime.directory, gateway.snapshot.stores["main"]
        # The other store can be opened, and the engine is not there.
        write(path, tmp_path / "other.db", engines={"e": {"kind": "openai", "url": "http://127.0.0.1:9/v1"}})
        with pytest.raises(ConfigError):
            await gateway.reload()
        assert directory.stored is first.keys
        assert directory.recall("the-secret-of-a-key") is not None
        assert await first.store.ready()
        assert [one.name for one in gateway.runtime.engines()] == ["e"]


LIMITED = {
    "keys": {"k": {"secret": "the-secret-of-a-key"}},
    "policies": {"default": {"limits": {"requests_per_day": 5}}},
}


def use(gateway: Gateway, calls: int) -> int:
    """Use so many calls of the key, and return how many are left."""
    key = gateway.runtime.directory.recall("the-secret-of-a-key")
    assert key is not None
    limits = gateway.snapshot.authenticate.policies.of(key).limits.general.limits
    limiter = gateway.runtime.quotas.limiter
    ticket = limiter.reserve("call", limits, [calls], until=gateway.clock() + 60)
    assert isinstance(ticket, Ticket)
    limiter.settle(ticket, [calls])
    return ticket.left[0]


async def test_what_is_kept_counts_from_the_first_call_on_until_the_day_is_over(tmp_path: Path) -> None:
    path, store, now = tmp_path / "tidegate.yaml", tmp_path / "keys.db", 1_780_000_000.0
    write(path, store, **LIMITED)
    for day, left in ((0.0, 3), (0.1, 1), (1.0, 3), (31.0, 3)):
        wall = partial(float, now + day * 86_400)
        async with Gateway(load(path), path=path, runtime=Runtime(wall=wall)) as gateway:
            assert use(gateway, 2) == left


async def test_a_refused_reload_and_a_later_one_count_on(tmp_path: Path) -> None:
    path, store, other = tmp_path / "tidegate.yaml", tmp_path / "keys.db", tmp_path / "other.db"
    write(path, store, **LIMITED)
    async with Gateway(load(path), path=path) as gateway:
        assert use(gateway, 2) == 3
        write(path, other, engines={"e": {"kind": "openai", "url": "http://127.0.0.1:9/v1"}}, **LIMITED)
        with pytest.raises(ConfigError):
            await gateway.reload()
        assert use(gateway, 1) == 2
    write(path, store, **LIMITED)
    async with Gateway(load(path), path=path) as gateway:
        assert use(gateway, 0) == 2
        write(path, other, **LIMITED)
        await gateway.reload()
        assert use(gateway, 1) == 1
    async with Gateway(load(path), path=path) as gateway:
        assert use(gateway, 0) == 1


async def test_a_store_whose_counts_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    path, store = tmp_path / "tidegate.yaml", tmp_path / "keys.db"
    write(path, store, **LIMITED)
    async with Gateway(load(path), path=path) as gateway:
        assert use(gateway, 1) == 4
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("ALTER TABLE counts RENAME TO counts_away")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"stores\.main: The store does not answer"):
            async with Gateway(load(path), path=path):
                pass
    assert [one.name for one in threading.enumerate() if one.name.startswith("store-")] == []
    write(path, None, **LIMITED)
    async with Gateway(load(path), path=path) as gateway:
        use(gateway, 1)
        write(path, store, **LIMITED)
        with pytest.raises(ConfigError):
            await gateway.reload()
        assert use(gateway, 1) == 3
