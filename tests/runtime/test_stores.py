"""Stores as the runtime lends them: opened once, kept by a reload that changes others, closed with the last user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tidegate.config import load
from tidegate.errors import ConfigError
from tidegate.gateway import Gateway

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
