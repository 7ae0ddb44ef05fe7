"""The local store on the command line: where it is, who changes it, and how its lines are printed."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate import config as configuration
from tidegate.cli import settings
from tidegate.config import LocalStoreConfig
from tidegate.errors import ConfigError, Overloaded
from tidegate.kernel.plain import plain, plain_json
from tidegate.ports import KeyStore
from tidegate.stores.local import LocalStore

STORE = "tidegate.db"

T = TypeVar("T")

ConfigPath = Annotated[Path | None, Parameter(("--config", "-c"))]
StorePath = Annotated[Path | None, Parameter("--store")]
AsJson = Annotated[bool, Parameter("--json", negative="")]

NOT_READ_YET = "note: `tidegate serve` does not read the store yet; it takes keys and tenants from the configuration alone"


def now() -> float:
    """Seconds since the epoch."""
    return datetime.now(UTC).timestamp()


def path_of(store: Path | None, config: Path | None) -> Path:
    """The file of the store: the one named, else the one beside the configuration."""
    return store if store is not None else (config or configuration.DEFAULT_PATH).parent / STORE


def within(path: Path, work: Callable[[KeyStore], Awaitable[T]], *, make: bool = False) -> T:
    """Do something with the keys of a store. Without `make` the file has to be there. Ends with status 2 if it fails."""
    print(NOT_READ_YET, file=sys.stderr)
    if not make and not path.is_file():
        settings.fail(
            f"{path}: there is no store; `tidegate keys create` makes one, and --store names another one"
        )
    try:
        return asyncio.run(_within(path, work))
    except ConfigError as error:
        settings.fail(str(error))
    except Overloaded as error:
        settings.fail(f"{path}: {error.message}{error.cause and ': '}{error.cause}")


def who() -> str:
    """How the admin log names the user of the command line."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f"cli:{os.getuid()}"


def date(seconds: float | None) -> str | None:
    """A time as ISO 8601 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def no(message: str) -> NoReturn:
    """Say on standard error why it was not done, and end with status 1."""
    Console(stderr=True, soft_wrap=True).print(plain(message), markup=False, highlight=False)
    raise SystemExit(1)


def print_json(value: Any) -> None:
    """Print a value for programs."""
    print(plain_json(msgspec.json.format(msgspec.json.encode(value)).decode()))


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[str | None, ...]]) -> None:
    """Print lines for people; an empty value is a dash."""
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(plain(value)) if value else "-" for value in row))
    Console().print(table)


async def _within(path: Path, work: Callable[[KeyStore], Awaitable[T]]) -> T:
    store = LocalStore(LocalStoreConfig(kind="local", path=path))
    await store.start(now)
    try:
        keys = store.keys()
        assert keys is not None
        return await work(keys)
    finally:
        await store.close()
