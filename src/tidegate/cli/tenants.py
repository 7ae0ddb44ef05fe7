"""`tidegate tenants`: the organisations, teams and users of the store, and the policies that they name."""

from __future__ import annotations

import msgspec
from cyclopts import App

from tidegate.access.administration import Administration
from tidegate.access.tenants import check_store_decides
from tidegate.access.wanted import NewTenant
from tidegate.cli import settings, store
from tidegate.cli.store import AsJson, ConfigPath, StorePath
from tidegate.types import Tenant

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
        The file of the store. Default: the store of the configuration.
    config
        The configuration. Default: tidegate.yaml.
    as_json
        Print JSON.

    """

    async def read(keys: Administration) -> list[Tenant]:
        return await store.every(lambda last: keys.tenants(organisation, after=last, most=store.PAGE))

    found = store.within(store.place_of(store_path, config), read)
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
        The file of the store. Default: the store of the configuration.
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
    organisation, team, user = (*names, "", "")[:3]
    wanted = NewTenant(organisation=organisation, team=team, user=user, policy=policy)

    place = store.place_of(store_path, config)
    with store.told(place):
        check_store_decides(wanted.check(place.policies), place.tenants)  # before there is a new file

    async def save(keys: Administration) -> Tenant:
        return await keys.set_tenant(wanted, store.actor())

    made = store.within(place, save, make=True)
    if as_json:
        store.print_json(made)
    else:
        print(f"{tenant}: {f'policy {policy}' if policy else 'no policy of its own'}")
