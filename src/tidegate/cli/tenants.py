"""`tidegate tenants`: the organisations, teams and users of a local store, and the policies that they name."""

from __future__ import annotations

import msgspec
from cyclopts import App

from tidegate.cli import settings, store
from tidegate.cli.store import AsJson, ConfigPath, StorePath
from tidegate.ports import KeyStore
from tidegate.types import Tenant

PAGE = 500

app = App(
    name="tenants",
    help="Organisations, teams and users, and their policies.",
    help_epilogue="""The nearest policy applies to a call: that of its key, else of its user, team or organisation.
The limits of a policy bound the tenant that names it as a whole: those of a team bound the sum of its keys.

Examples

`tidegate tenants set acme --policy standard`: an organisation

`tidegate tenants set acme/blue --policy large`: its team blue

`tidegate tenants set acme/blue/ann`: a user of that team, without a policy of her own

`tidegate tenants set acme//bob`: a user of the organisation, in no team""",
)


@app.command(name="list")
def list_(
    *,
    organisation: str = "",
    store_path: StorePath = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """List organisations, teams and users with their policies.

    Parameters
    ----------
    organisation
        Only this organisation.
    store_path
        The file of the store. Default: tidegate.db beside the configuration.
    config
        The configuration. Default: tidegate.yaml.
    as_json
        Print JSON.

    """

    async def read(keys: KeyStore) -> list[Tenant]:
        every: list[Tenant] = []
        while page := await keys.tenants(organisation, after=every[-1] if every else None, most=PAGE):
            every += page
        return every

    found = store.within(store.path_of(store_path, config), read)
    if as_json:
        store.print_json(found)
    else:
        store.print_table(
            ("organisation", "team", "user", "policy"), [msgspec.structs.astuple(one) for one in found]
        )


@app.command(name="set")
def set_(
    tenant: str,
    /,
    *,
    policy: str = "",
    store_path: StorePath = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Make a tenant, or give it another policy.

    Parameters
    ----------
    tenant
        ORGANISATION, ORGANISATION/TEAM or ORGANISATION/TEAM/USER.
    policy
        The name of a policy of the configuration. Default: none, so the tenant above decides.
    store_path
        The file of the store. Default: tidegate.db beside the configuration.
    config
        The configuration. Default: tidegate.yaml.
    as_json
        Print JSON.

    """
    names = tenant.split("/")
    if len(names) > 3 or not names[0] or not names[-1]:
        settings.fail(
            f"'{tenant}' is not a tenant: write ORGANISATION, ORGANISATION/TEAM or ORGANISATION/TEAM/USER"
        )
    made = Tenant(*names, *[""] * (3 - len(names)), policy=policy)

    async def save(keys: KeyStore) -> None:
        await keys.set_tenant(made, by=store.who())

    store.within(store.path_of(store_path, config), save, make=True)
    if as_json:
        store.print_json(made)
    else:
        print(f"{tenant}: {f'policy {policy}' if policy else 'no policy of its own'}")
