"""The stores that the contract suites run against. A new store adds one entry to `STORES`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

from tidegate.config import LocalStoreConfig
from tidegate.ports import KeyStore, Store, Wall
from tidegate.stores.local import LocalStore

OpenStore = Callable[[Path, Wall], AbstractAsyncContextManager[Store]]
"""Opens a store whose data is named by a folder. The same folder gives the same data."""
Opener = Callable[[Path, Wall], AbstractAsyncContextManager[KeyStore]]
"""Opens the keys of such a store."""


@asynccontextmanager
async def local(folder: Path, wall: Wall) -> AsyncIterator[Store]:
    store = LocalStore(LocalStoreConfig(kind="local", path=folder / "tidegate.db"), poll_s=0.01)
    await store.start(wall)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def _keys(opened: OpenStore, folder: Path, wall: Wall) -> AsyncIterator[KeyStore]:
    async with opened(folder, wall) as store:
        keys = store.keys()
        assert keys is not None
        yield keys


STORES: Mapping[str, OpenStore] = {"local": local}
KINDS: Mapping[str, Opener] = {name: partial(_keys, opened) for name, opened in STORES.items()}
