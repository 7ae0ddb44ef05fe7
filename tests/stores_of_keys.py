"""The stores that the contract suite runs against. A new store adds one entry to `KINDS`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from tidegate.config import LocalStoreConfig
from tidegate.ports import KeyStore, Wall
from tidegate.stores.local import LocalStore

Opener = Callable[[Path, Wall], AbstractAsyncContextManager[KeyStore]]
"""Opens the keys of a store whose data is named by a folder. The same folder gives the same data."""


@asynccontextmanager
async def local(folder: Path, wall: Wall) -> AsyncIterator[KeyStore]:
    store = LocalStore(LocalStoreConfig(kind="local", path=folder / "tidegate.db"), poll_s=0.01)
    await store.start(wall)
    try:
        keys = store.keys()
        assert keys is not None
        yield keys
    finally:
        await store.close()


KINDS: Mapping[str, Opener] = {"local": local}
