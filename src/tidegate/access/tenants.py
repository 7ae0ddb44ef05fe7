"""The tenants there are, in the configuration and in the store, and what is wrong with a change that does not fit them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tidegate.access.wanted import NewKey, wrong
from tidegate.config.tenants import TenantNames
from tidegate.errors import Conflict
from tidegate.kernel.nearest import nearest
from tidegate.types import Tenant

MOST_NAMED = 20
"""So many names at most are listed in an error."""

_FIELDS = ("organisation", "team", "user")


def check_store_decides(tenant: Tenant, configured: Mapping[TenantNames, str]) -> None:
    """Raise Conflict for a tenant whose policy the configuration gives. `configured`: its tenants with their policies."""
    names = (tenant.organisation, tenant.team, tenant.user)
    if policy := configured.get(names):
        raise Conflict(
            f"The configuration gives '{_path(*names)}' the policy '{policy}', which is the one that counts:"
            " change it there, or take it out there first",
            param="policy",
        )


def check_known(key: NewKey, known: Collection[TenantNames]) -> None:
    """Raise BadRequest if a tenant of the key is not among those known: by a typing error, a key would escape limits.

    An organisation is known if a team or a user of it is, and a team if a user of it is.
    """
    names = (key.organisation, key.team, key.user)
    for level, field in enumerate(_FIELDS):
        there_are = {one[level] for one in known if one[:level] == names[:level]} - {""}
        if names[level] and names[level] not in there_are:
            raise wrong(field, _unknown(field, names[: level + 1], sorted(there_are)))


def _unknown(field: str, names: tuple[str, ...], there_are: Collection[str]) -> str:
    *above, name = names
    place = f" in '{_path(*above)}'" if above else ""
    meant = nearest(name, there_are)
    hint = f"did you mean '{meant}'?" if meant else f"there are: {_listed(there_are)}"
    return (
        f"names no {field}: there is no '{name}'{place}; {hint} `tidegate tenants set` or POST /admin/tenants makes a"
        " tenant"
    )


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:MOST_NAMED]) or "none"
    return f"{shown} and {len(names) - MOST_NAMED} more." if len(names) > MOST_NAMED else f"{shown}."


def _path(*names: str) -> str:
    return "/".join(names).rstrip("/")
