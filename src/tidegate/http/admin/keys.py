"""The admin API for the keys and tenants of the store, and for the admin log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.access.administration import Actor, Administration, Made, date, shown
from tidegate.access.wanted import NewKey, NewTenant, Rotation
from tidegate.errors import BadRequest, Conflict, GatewayError
from tidegate.gateway import Gateway
from tidegate.http.access import visitor_of
from tidegate.http.admin.asking import MOST, PAGE, body_of, number, query_of
from tidegate.http.answers import as_error, as_json
from tidegate.types import Change, Tenant

# An answer may hold a secret, and is right for a moment only (RFC 9111, 5.2.2.5).
_NOT_KEPT = {"cache-control": "no-store"}

Answer = Callable[[Request], Awaitable[Response]]


class KeyRoutes:
    """The routes below `/admin/keys`, `/admin/tenants` and `/admin/log` of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """For Starlette's router. They have to be `guarded`."""
        return [
            _route("/admin/keys", GET=self._list, POST=self._create),
            _route("/admin/keys/{id}", GET=self._show),
            _route("/admin/keys/{id}/rotate", POST=self._rotate),
            _route("/admin/keys/{id}/revoke", POST=self._revoke),
            _route("/admin/tenants", GET=self._tenants, POST=self._set_tenant),
            _route("/admin/log", GET=self._log),
        ]

    def _administration(self) -> Administration:
        """The keys of the store in force. Raises Conflict without a store."""
        runtime, policies = self._gateway.runtime, self._gateway.snapshot.authenticate.policies
        stored = runtime.directory.stored
        if stored is None:
            raise Conflict("There is no store of keys: add the section 'stores' to the configuration")
        return Administration(
            stored.store,
            runtime.directory.peppers,
            runtime.wall,
            policies=policies.named.keys(),
            tenants=policies.tenants,
            changed=stored.changed,
        )

    async def _list(self, request: Request) -> Response:
        query = query_of(request, ("organisation", "after", "limit"))
        most = number(query, "limit", PAGE, most=MOST)
        found = await self._administration().page(
            query.get("organisation", ""), after=query.get("after", ""), most=most
        )
        now = self._gateway.runtime.wall()
        return _page("keys", [shown(key, now) for key in found], most, found[-1].id if found else "")

    async def _create(self, request: Request) -> Response:
        wanted = await body_of(request, NewKey)
        return self._once(await self._administration().create(wanted, _actor(request)), status=201)

    async def _show(self, request: Request) -> Response:
        query_of(request, ())
        key = await self._administration().find(request.path_params["id"])
        return _answer(shown(key, self._gateway.runtime.wall()))

    async def _rotate(self, request: Request) -> Response:
        wanted = await body_of(request, Rotation, default=Rotation())
        made = await self._administration().rotate(request.path_params["id"], wanted, _actor(request))
        return self._once(made)

    async def _revoke(self, request: Request) -> Response:
        key = await self._administration().revoke(request.path_params["id"], _actor(request))
        return _answer(shown(key, self._gateway.runtime.wall()))

    async def _tenants(self, request: Request) -> Response:
        query = query_of(request, ("organisation", "after", "limit"))
        most = number(query, "limit", PAGE, most=MOST)
        found = await self._administration().tenants(
            query.get("organisation", ""), after=_tenant(query.get("after", "")), most=most
        )
        last = "/".join(msgspec.structs.astuple(found[-1])[:3]) if found else ""
        return _page("tenants", [msgspec.to_builtins(one) for one in found], most, last)

    async def _set_tenant(self, request: Request) -> Response:
        wanted = await body_of(request, NewTenant)
        return _answer(msgspec.to_builtins(await self._administration().set_tenant(wanted, _actor(request))))

    async def _log(self, request: Request) -> Response:
        query = query_of(request, ("after", "limit"))
        most = number(query, "limit", PAGE, most=MOST)
        found = await self._administration().log(after=number(query, "after", 0), most=most)
        return _page("changes", [_line(change) for change in found], most, found[-1].number if found else 0)

    def _once(self, made: Made, *, status: int = 200) -> Response:
        """Show a key with its new secret. No other place shows it."""
        fields = shown(made.key, self._gateway.runtime.wall())
        return _answer({**fields, "key": made.text.text}, status=status)


def _route(path: str, **answers: Answer) -> Route:
    """A route with an answer for each method. Errors become answers in OpenAI's form."""

    async def answer(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        try:
            return await answers[method](request)
        except GatewayError as error:
            return as_error(error, _NOT_KEPT)

    return Route(path, answer, methods=list(answers))


def _actor(request: Request) -> Actor:
    caller = visitor_of(request).caller
    return Actor(f"key:{caller.key}", caller.scopes)


def _answer(content: Mapping[str, Any], *, status: int = 200) -> Response:
    return as_json(content, status=status, more=_NOT_KEPT)


def _page(name: str, rows: list[Any], most: int, last: str | int) -> Response:
    """One page of a list. `next` is what `after` has to be for the following page; null at the end."""
    return _answer({name: rows, "next": last if rows and len(rows) == most else None})


def _tenant(text: str) -> Tenant | None:
    names = text.split("/")
    if len(names) > 3:
        raise BadRequest(
            "The query parameter 'after' must be what the last page had as 'next'", param="after"
        )
    return Tenant(*names) if text else None


def _line(change: Change) -> dict[str, Any]:
    return {
        "number": change.number,
        "at": date(change.at),
        "by": change.by,
        "action": change.action,
        "subject": change.subject,
        "detail": msgspec.Raw(change.detail.encode()),
    }
