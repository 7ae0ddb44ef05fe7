"""The store on the command line: where it is, who changes it, and how its lines are printed."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.access.administration import Actor, Administration
from tidegate.access.keys import ID_CHARACTERS, Peppers
from tidegate.access.wanted import SCOPES
from tidegate.cli import settings
from tidegate.config import LocalStoreConfig
from tidegate.config.reading import variable
from tidegate.config.references import DEFAULT_POLICY as DEFAULT
from tidegate.config.tenants import TenantNames, tenants_of
from tidegate.errors import BadRequest, ConfigError, Conflict, Forbidden, NotFound, Overloaded
from tidegate.kernel.plain import plain, plain_json
from tidegate.stores.local import LocalStore

PEPPER = "TIDEGATE_PEPPER"
PAGE = 500
_UNBOUNDED = 1_000_000

T = TypeVar("T")

Work = Callable[[Administration], Awaitable[T]]

ConfigPath = Annotated[Path | None, Parameter(("--config", "-c"))]
StorePath = Annotated[Path | None, Parameter("--store")]
AsJson = Annotated[bool, Parameter("--json", negative="")]


class Place(NamedTuple):
    """A store: its file, and what the configuration says of it. Without a configuration, `policies` is None.

    `tenants` are those of the configuration, with the policies that they name.
    """

    path: Path
    peppers: tuple[str, ...] = ()
    policies: Collection[str] | None = None
    tenants: Mapping[TenantNames, str] = MappingProxyType({})


def now() -> float:
    """Seconds since the epoch."""
    return datetime.now(UTC).timestamp()


def place_of(store: Path | None, config: Path | None) -> Place:
    """Where the store is: the file that was named, else the store of the configuration. Ends with status 2 without one.

    The pepper is that of the configuration, or the variable TIDEGATE_PEPPER where a file is named without one.
    """
    if store is not None and config is None:
        pepper = variable(PEPPER)
        return Place(store, (pepper,) if pepper else ())
    loaded, source = settings.load(config)
    peppers = tuple(pepper.get_secret_value() for pepper in loaded.auth.pepper or ())
    policies, tenants = {DEFAULT, *loaded.policies}, dict(tenants_of(loaded.organisations))
    if store is not None:
        return Place(store, peppers, policies, tenants)
    found = next(iter(loaded.stores.values()), None)
    if found is None:
        settings.fail(
            f"{source or 'the built-in configuration'} names no store: add a line such as"
            " stores: {main: {kind: local, path: tidegate.db}}, or name a file with --store"
        )
    if not isinstance(found, LocalStoreConfig):
        settings.fail(f"{source}: these commands change stores of the kind local only; use the admin API")
    return Place(found.path, peppers, policies, tenants)


@contextmanager
def told(place: Place) -> Generator[None]:
    """End with status 1 if something cannot be done, and with status 2 if the command or the store is wrong."""
    try:
        yield
    except ConfigError as error:
        settings.fail(str(error))
    except Overloaded as error:
        settings.fail(f"{place.path}: {error.message}{error.cause and ': '}{error.cause}")
    except NotFound as error:
        no(f"{error.message}: `tidegate keys list` shows the ids")
    except (Conflict, Forbidden) as error:
        no(error.message)
    except BadRequest as error:
        option = f"--{(error.param or '').removesuffix('_s').replace('_', '-')}"
        settings.fail(error.message.replace(f"The field '{error.param}'", option))


def within(place: Place, work: Work[T], *, peppered: bool = False, make: bool = False) -> T:
    """Do something with the keys of a store; see `told` for what happens if it fails.

    `peppered` work makes secrets. Without `make` the file has to be there.
    """
    peppers = _peppers(place, needed=peppered)
    if not place.path.is_file():
        if not make:
            settings.fail(
                f"{place.path}: there is no store; `tidegate keys create` makes one, and --store names another one"
            )
        print(f"note: {place.path.absolute()} is a new store", file=sys.stderr)
    with told(place):
        return asyncio.run(_within(place, peppers, work))
    raise AssertionError("unreachable: `told` lets no exception pass that it suppresses")


async def every(page: Callable[[T | None], Awaitable[Sequence[T]]]) -> list[T]:
    """All entries of a list that comes in pages. `page` takes the last entry that is known, None at the beginning."""
    found: list[T] = []
    while more := await page(found[-1] if found else None):
        found += more
    return found


def actor() -> Actor:
    """The user of the command line, who may give every scope: whoever can write the file can do so anyway."""
    return Actor(who(), frozenset(SCOPES))


def _peppers(place: Place, *, needed: bool) -> Peppers | None:
    if not place.peppers:
        if not needed:
            return None
        settings.fail(
            f"there is no pepper, which digests of keys need: set auth.pepper in the configuration, or {PEPPER} with"
            " --store; see `tidegate keys --help`"
        )
    try:
        return Peppers([pepper.encode() for pepper in place.peppers])
    except ValueError as error:
        settings.fail(f"{PEPPER}: {error}")


def who() -> str:
    """How the admin log names the user of the command line."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f"cli:{os.getuid()}"


def no(message: str) -> NoReturn:
    """Say on standard error why it was not done, and end with status 1."""
    Console(stderr=True, soft_wrap=True).print(plain(message), markup=False, highlight=False)
    raise SystemExit(1)


def print_json(value: Any) -> None:
    """Print a value for programs."""
    print(plain_json(msgspec.json.format(msgspec.json.encode(value)).decode()))


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[str | None, ...]]) -> None:
    """Print lines for people; an empty value is a dash. In a file or a pipe, and in the column `id`, no text is wrapped."""
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for row in rows:
        table.add_row(*(escape(plain(value)) if value else "-" for value in row))
    console = Console()
    console.width = max(console.width, _least_width(columns)) if console.is_terminal else _UNBOUNDED
    console.print(table)


def _least_width(columns: tuple[str, ...]) -> int:
    """The width at which an id fits beside other columns of one character each, borders included."""
    return ID_CHARACTERS + 4 * len(columns)


async def _within(place: Place, peppers: Peppers | None, work: Work[T]) -> T:
    store = LocalStore(LocalStoreConfig(kind="local", path=place.path))
    await store.start(now)
    try:
        keys = store.keys()
        assert keys is not None
        return await work(Administration(keys, peppers, now, policies=place.policies, tenants=place.tenants))
    finally:
        await store.close()
