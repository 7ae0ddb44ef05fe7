"""`tidegate keys`: makes, lists, rotates and revokes the API keys of a local store."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NoReturn, cast

import msgspec
from cyclopts import App, Parameter

from tidegate.access.keys import PEPPER_BYTES, KeyText, Peppers, new_id, new_text, renewed
from tidegate.cli import settings, store
from tidegate.cli.store import AsJson, ConfigPath, StorePath
from tidegate.config.reading import variable
from tidegate.ports import KeyStore
from tidegate.types import Caller, Key, Secret
from tidegate.types.caller import ADMIN_READ, ADMIN_WRITE, INFERENCE, METRICS

PEPPER = "TIDEGATE_PEPPER"
PAGE = 500
SCOPES = (INFERENCE, ADMIN_READ, ADMIN_WRITE, METRICS)

app = App(
    name="keys",
    help="Make, list, rotate and revoke API keys.",
    help_epilogue=f"""A key reads `tg_ID_SECRET`. The secret is shown once, when it is made:
the store keeps a digest of it. The id names the key in lists, logs and the commands below.

Digests need a pepper, a secret of the server, at least {PEPPER_BYTES} bytes long, in the variable {PEPPER}.
The gateway needs the same one. Keep it: without it no key is valid.

Examples

`export {PEPPER}=$(openssl rand -hex 32)`: once, and kept where your secrets are

`tidegate keys create --name laptop --organisation acme --team blue`: makes a key and shows its secret

`tidegate keys rotate ID --overlap 1d`: a new secret; the old one is valid for one more day

`tidegate keys revoke ID`: ends a key

Ends with status 0: done; 1: there is no such key, or it cannot be changed; 2: the command line or the store is wrong.""",
)

Duration = Annotated[str | None, Parameter(show_default=False)]
Names = Annotated[str | None, Parameter(show_default=False)]


@app.command
def create(  # noqa: PLR0913 - an option each
    *,
    name: str = "",
    organisation: str = "",
    team: str = "",
    user: str = "",
    policy: str = "",
    models: Names = None,
    scopes: str = "inference",
    expires_in: Duration = None,
    store_path: StorePath = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and show its secret once.

    Parameters
    ----------
    name
        What people call the key.
    organisation
        The organisation that the key belongs to.
    team
        The team of that organisation.
    user
        The user of that team or organisation.
    policy
        The policy of the key. Default: that of the nearest tenant.
    models
        Which of the models that the policy allows, such as `gpt-*,small`. Default: all of them.
    scopes
        What the key may do: inference, admin:read, admin:write, metrics; several with commas.
    expires_in
        How long it is valid, such as 90d, 12h or 30m. Default: until it is revoked.
    store_path
        The file of the store. Default: tidegate.db beside the configuration.
    config
        The configuration. Default: tidegate.yaml.
    as_json
        Print JSON.

    """
    if (team or user) and not organisation:
        settings.fail("--team and --user need --organisation")
    granted = frozenset(_listed(scopes))
    if unknown := granted - set(SCOPES):
        settings.fail(f"--scopes: there is no scope '{min(unknown)}'; there are: {', '.join(SCOPES)}")
    if not granted:
        settings.fail(f"--scopes: name at least one of {', '.join(SCOPES)}")
    peppers, lasts_s, at = _peppers(), _seconds("--expires-in", expires_in), store.now()
    text = new_text(new_id())
    key = Key(
        id=text.id,
        secrets=(Secret(peppers.digest(text.text)),),
        caller=Caller(key=text.id, user=user, team=team, organisation=organisation, scopes=granted),
        name=name,
        policy=policy,
        models=None if models is None else tuple(_listed(models)),
        created_at=at,
        expires_at=None if lasts_s is None else at + lasts_s,
    )

    async def save(keys: KeyStore) -> bool:
        return await keys.save(key, over=None, by=store.who())

    if not store.within(store.path_of(store_path, config), save, make=True):
        store.no("There is a key with the same new id already: run the command again")
    _print_once(key, text, as_json=as_json)


@app.command(name="list")
def list_(
    *,
    organisation: str = "",
    store_path: StorePath = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """List keys, without their secrets.

    Parameters
    ----------
    organisation
        Only keys of this organisation.
    store_path
        The file of the store. Default: tidegate.db beside the configuration.
    config
        The configuration. Default: tidegate.yaml.
    as_json
        Print JSON.

    """

    async def read(keys: KeyStore) -> list[Key]:
        every: list[Key] = []
        while page := await keys.page(organisation, after=every[-1].id if every else "", most=PAGE):
            every += page
        return every

    shown = [_shown(key) for key in store.within(store.path_of(store_path, config), read)]
    if as_json:
        store.print_json(shown)
        return
    columns = ("id", "state", "name", "organisation", "team", "user", "policy", "expires_at", "used_at")
    store.print_table(columns, [tuple(one[column] for column in columns) for one in shown])


@app.command
def show(
    id: str, /, *, store_path: StorePath = None, config: ConfigPath = None, as_json: AsJson = False
) -> None:
    """Show one key, without its secrets.

    Parameters
    ----------
    id
        The public part of the key: what stands between tg_ and the next underscore.
    store_path
        The file of the store. Default: tidegate.db beside the configuration.
    config
        The configuration. Default: tidegate.yaml.
    as_json
        Print JSON.

    """

    async def read(keys: KeyStore) -> Key | None:
        return await keys.find(id)

    key = store.within(store.path_of(store_path, config), read)
    _print(_shown(key if key is not None else _absent(id)), as_json=as_json)


@app.command
def rotate(
    id: str,
    /,
    *,
    overlap: str = "1d",
    store_path: StorePath = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Make a new secret for a key, and show it once. The old secret stays valid for a while.

    Parameters
    ----------
    id
        The public part of the key: what stands between tg_ and the next underscore.
    overlap
        How long the old secret stays valid, such as 7d, 12h, 30m or 0s.
    store_path
        The file of the store. Default: tidegate.db beside the configuration.
    config
        The configuration. Default: tidegate.yaml.
    as_json
        Print JSON.

    """
    peppers, lasts_s = _peppers(), _seconds("--overlap", overlap) or 0.0
    text: list[KeyText] = []

    def change(key: Key) -> Key:
        if key.revoked_at is not None:
            store.no(f"The key {key.id} was revoked: make another one with `tidegate keys create`")
        text.append(new_text(key.id))
        return renewed(key, peppers.digest(text[-1].text), old_until=store.now() + lasts_s)

    key = _change(store.path_of(store_path, config), id, change)
    _print_once(key, text[-1], as_json=as_json)


@app.command
def revoke(
    id: str, /, *, store_path: StorePath = None, config: ConfigPath = None, as_json: AsJson = False
) -> None:
    """End a key with all its secrets, at once and for ever.

    Parameters
    ----------
    id
        The public part of the key: what stands between tg_ and the next underscore.
    store_path
        The file of the store. Default: tidegate.db beside the configuration.
    config
        The configuration. Default: tidegate.yaml.
    as_json
        Print JSON.

    """

    def change(key: Key) -> Key:
        if key.revoked_at is not None:
            return key
        return msgspec.structs.replace(key, revoked_at=store.now(), version=key.version + 1)

    key = _change(store.path_of(store_path, config), id, change)
    _print(_shown(key), as_json=as_json)


def _change(path: Path, id: str, change: Callable[[Key], Key]) -> Key:
    """Change a key in the store; a change that gives the same key is not saved."""

    async def work(keys: KeyStore) -> Key:
        old = await keys.find(id) or _absent(id)
        new = change(old)
        if new is not old and not await keys.save(new, over=old.version, by=store.who()):
            store.no(f"The key {id} was changed by another command meanwhile: run this one again")
        return new

    return store.within(path, work)


def _absent(id: str) -> NoReturn:
    given = id if len(id) < len("tg_0123456789_") else "given"  # the whole text of a key is a secret
    store.no(f"There is no key {given} in the store: `tidegate keys list` shows the ids")


def _peppers() -> Peppers:
    pepper = variable(PEPPER)
    if pepper is None:
        settings.fail(f"{PEPPER} is not set: digests of keys need a pepper; see `tidegate keys --help`")
    try:
        return Peppers([pepper.encode()])
    except ValueError as error:
        settings.fail(f"{PEPPER}: {error}")


_UNITS = MappingProxyType({"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0})


def _seconds(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if found is None:
        settings.fail(f"{option}: '{text}' is not a time such as 90d, 12h, 30m or 45s")
    return float(found[1]) * _UNITS[found[2]]


def _listed(text: str) -> Sequence[str]:
    return [part for one in text.split(",") if (part := one.strip())]


def _shown(key: Key) -> dict[str, Any]:
    """What may be seen of a key."""
    return {
        "id": key.id,
        "state": _state(key),
        "name": key.name,
        "organisation": key.caller.organisation,
        "team": key.caller.team,
        "user": key.caller.user,
        "policy": key.policy,
        "models": key.models,
        "scopes": sorted(key.caller.scopes),
        "created_at": store.date(key.created_at),
        "expires_at": store.date(key.expires_at),
        "revoked_at": store.date(key.revoked_at),
        "used_at": store.date(key.used_at),
        "secrets_expire_at": [store.date(secret.expires_at) for secret in key.secrets],
        "version": key.version,
    }


def _state(key: Key) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and store.now() >= key.expires_at else "valid"


def _print_once(key: Key, text: KeyText, *, as_json: bool) -> None:
    """Print a key with its new secret. No other place shows it."""
    if as_json:
        store.print_json(_shown(key) | {"key": text.text})
        return
    _print(_shown(key), as_json=False)
    print(f"\nThe key, shown this once:\n\n{text.text}")


def _print(shown: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        store.print_json(shown)
        return
    store.print_table(("field", "value"), [(name, _words(value)) for name, value in shown.items()])


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        every = cast("Sequence[str | None]", value)
        return ", ".join("never" if one is None else one for one in every)
    return "" if value is None else str(value)
