"""`GET /admin/usage`: what is consumed of each limit now."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.errors import BadRequest, GatewayError
from tidegate.http.admin.asking import meant, query_of
from tidegate.http.answers import as_error, as_json
from tidegate.quotas.consumed import Consumed, share_used
from tidegate.quotas.levels import DIMENSIONS, LEVELS
from tidegate.types import Consumption, Per, Unit

PARAMETERS = ("level", "tenant", "most")
"""The parameters of the query."""
MOST = 1000
PAGE = 100
"""How many limits an answer has at most, and without the parameter `most`."""
_UNITS = MappingProxyType({Unit.CALLS: "calls", Unit.TOKENS: "tokens", Unit.MONEY: "USD"})


class Asked(msgspec.Struct, frozen=True):
    """What a request asks for: the limits of one level and of one tenant, or of all if these are empty."""

    level: str = ""
    tenant: str = ""
    most: int = PAGE


def usage_route(consumed: Callable[[str], Awaitable[Consumed]]) -> Route:
    """Return the route. It has to be `guarded`. `consumed` gets a level, or an empty text for all levels."""

    async def usage(request: Request) -> Response:
        try:
            asked = read(query_of(request, PARAMETERS))
            return as_json(page(await consumed(asked.level), asked))
        except GatewayError as error:
            return as_error(error)

    return Route("/admin/usage", usage, methods=["GET"])


def read(found: Mapping[str, str]) -> Asked:
    """Read the parameters of a query. Raises BadRequest, which names the parameter that is wrong."""
    level, tenant, most = (found.get(name, "") for name in PARAMETERS)
    if "level" in found and level not in LEVELS:
        raise BadRequest(f"There is no level '{level[:40]}'{meant(level, LEVELS)}", param="level")
    if "tenant" in found and not tenant:
        raise BadRequest(
            "The query parameter 'tenant' is empty: give a name, or leave it out", param="tenant"
        )
    if "most" in found and not (re.fullmatch(r"[0-9]{1,4}", most) and 1 <= int(most) <= MOST):
        raise BadRequest(f"The query parameter 'most' must be a whole number from 1 to {MOST}", param="most")
    return Asked(level, tenant, int(most or PAGE))


def page(found: Consumed, asked: Asked) -> dict[str, Any]:
    """Return the answer: the limits sorted by level, and those of which the most is used first.

    `more` says whether there are limits that are not among them.
    """
    chosen = [one for one in found.limits if asked.tenant in ("", one.limit.tenant)]
    chosen.sort(key=lambda one: (_rank(one.limit.level), -share_used(one), one.limit.tenant))
    return {
        "limits": [dict(_row(one)) for one in chosen[: asked.most]],
        "more": len(chosen) > asked.most or not found.complete,
        "configured": found.configured,
        "silent_workers": found.silent,
    }


def _row(one: Consumption) -> Iterator[tuple[str, Any]]:
    limit = one.limit
    known = DIMENSIONS.get(limit.dimension)

    def amount(number: int) -> float:
        return number / 1e6 if limit.money else number

    yield "level", limit.level
    yield "tenant", limit.tenant
    yield "dimension", limit.dimension
    yield "unit", _UNITS[known[0]] if known else "calls"
    yield "used", amount(one.used)
    yield "limit", amount(limit.most)
    yield "left", amount(one.left)
    yield "burst", (limit.burst or limit.most) if limit.per is Per.MINUTE else None
    yield "used_share", share_used(one)
    yield "resets_s", round(one.resets_s, 3)
    yield "since", datetime.fromtimestamp(one.since, UTC).isoformat() if one.since else None
    yield "enforce", limit.enforce


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)
