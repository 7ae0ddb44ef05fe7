"""`tidegate keys`: makes, lists, rotates and revokes the API keys of the store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Annotated, Any, cast

from cyclopts import App, Parameter

from tidegate.access.administration import Administration, Made, shown
from tidegate.access.keys import PEPPER_BYTES
from tidegate.access.tenants import check_known
from tidegate.access.wanted import NewKey, Rotation
from tidegate.cli import settings, store
from tidegate.cli.store import PEPPER, AsJson, ConfigPath, StorePath
from tidegate.types import Key

app = App(
    name="keys",
    help="Make, list, rotate and revoke API keys.",
    help_epilogue=f"""A key reads `tg_ID_SECRET`. The secret is shown once, when it is made:
the store keeps a digest of it. The id names the key in lists, logs and the commands below.

The store and the pepper are those of the configuration: `stores` and `auth.pepper`. The pepper is a secret of the
server, at least {PEPPER_BYTES} bytes long. Keep it: without it no key is valid. With --store alone, it is taken from
the variable {PEPPER}. A running gateway takes in every change at once.

Examples

`export {PEPPER}=$(openssl rand -hex 32)`: once, and kept where your secrets are; `auth: {{pepper: ${{{PEPPER}}}}}`

`tidegate keys create --name laptop`: makes a key and shows its secret

`tidegate keys create --organisation acme --team blue`: one of a team that the configuration or `tidegate tenants set` made

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
        What the key may do: inference, admin:read, admin:write, review, metrics; several with commas.
    expires_in
        How long it is valid, such as 90d, 12h or 30m. Default: until it is revoked.
    store_path
        The file of the store. Default: the store of the configuration.
    config
        The configuration. Default: tidegate.yaml.
    as_json
        Print JSON.

    """
    wanted = NewKey(
        name=name,
        organisation=organisation,
        team=team,
        user=user,
        policy=policy,
        models=None if models is None else tuple(_listed(models)),
        scopes=tuple(_listed(scopes)),
        expires_in_s=_seconds("--expires-in", expires_in),
    )
    place = store.place_of(store_path, config)
    with store.told(place):
        wanted.check(place.policies)  # before there is a new file
        if not place.path.is_file():
            check_known(wanted, place.tenants)

    async def make(keys: Administration) -> Made:
        return await keys.create(wanted, store.actor())

    _print_once(store.within(place, make, peppered=True, make=True), as_json=as_json)


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
        The file of the store. Default: the store of the configuration.
    config
        The configuration. Default: tidegate.yaml.
    as_json
        Print JSON.

    """

    async def read(keys: Administration) -> list[Key]:
        return await store.every(
            lambda last: keys.page(organisation, after=last.id if last else "", most=store.PAGE)
        )

    now = store.now()
    shown_keys = [shown(key, now) for key in store.within(store.place_of(store_path, config), read)]
    if as_json:
        store.print_json(shown_keys)
        return
    columns = ("id", "state", "name", "organisation", "team", "user", "policy", "expires_at", "used_at")
    store.print_table(columns, [tuple(one[column] for column in columns) for one in shown_keys])


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
        The file of the store. Default: the store of the configuration.
    config
        The configuration. Default: tidegate.yaml.
    as_json
        Print JSON.

    """

    async def read(keys: Administration) -> Key:
        return await keys.find(id)

    _print(store.within(store.place_of(store_path, config), read), as_json=as_json)


@app.command
def rotate(
    id: str,
    /,
    *,
    overlap: str = "1d",
    force: Annotated[bool, Parameter(negative="")] = False,
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
    force
        End a secret that is older still and that is valid from an earlier rotation. Default: that is refused.
    store_path
        The file of the store. Default: the store of the configuration.
    config
        The configuration. Default: tidegate.yaml.
    as_json
        Print JSON.

    """
    wanted = Rotation(overlap_s=_seconds("--overlap", overlap) or 0.0, force=force)

    async def change(keys: Administration) -> Made:
        return await keys.rotate(id, wanted, store.actor())

    _print_once(store.within(store.place_of(store_path, config), change, peppered=True), as_json=as_json)


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
        The file of the store. Default: the store of the configuration.
    config
        The configuration. Default: tidegate.yaml.
    as_json
        Print JSON.

    """

    async def change(keys: Administration) -> Key:
        return await keys.revoke(id, store.actor())

    _print(store.within(store.place_of(store_path, config), change), as_json=as_json)


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


def _print_once(made: Made, *, as_json: bool) -> None:
    """Print a key with its new secret. No other place shows it."""
    if as_json:
        store.print_json(shown(made.key, store.now()) | {"key": made.text.text})
        return
    _print(made.key, as_json=False)
    print(f"\nThe key, shown this once:\n\n{made.text.text}")


def _print(key: Key, *, as_json: bool) -> None:
    fields = shown(key, store.now())
    if as_json:
        store.print_json(fields)
        return
    store.print_table(("field", "value"), [(name, _words(value)) for name, value in fields.items()])


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        every = cast("Sequence[str | None]", value)
        return ", ".join("never" if one is None else one for one in every)
    return "" if value is None else str(value)
