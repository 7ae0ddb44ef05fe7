"""What each route needs: one table. A route without a row keeps the gateway from starting.

A row holds for all methods of a path, or for the one method that stands before it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.errors import GatewayError
from tidegate.http.answers import as_error
from tidegate.http.responder import header_values
from tidegate.stages.authenticate import OPEN, Authenticate, Visitor, scope_of
from tidegate.types import Endpoint, Headers
from tidegate.types.caller import ADMIN_READ, ADMIN_WRITE, INFERENCE, METRICS, REVIEW

NEEDS: Mapping[str, str] = MappingProxyType(
    {
        # Calls: the stage `authenticate` asks for the scope.
        **{f"/v1/{endpoint.value}": scope_of(endpoint) for endpoint in Endpoint},
        "/v1/models": INFERENCE,
        "/v1/models/{model:path}": INFERENCE,
        "/openapi.json": INFERENCE,
        "/metrics": METRICS,
        "/admin/reload": ADMIN_WRITE,
        "/admin/usage": ADMIN_READ,
        "/admin/queue": ADMIN_READ,
        "GET /admin/keys": ADMIN_READ,
        "POST /admin/keys": ADMIN_WRITE,
        "/admin/keys/{id}": ADMIN_READ,
        "/admin/keys/{id}/rotate": ADMIN_WRITE,
        "/admin/keys/{id}/revoke": ADMIN_WRITE,
        "GET /admin/tenants": ADMIN_READ,
        "POST /admin/tenants": ADMIN_WRITE,
        "/admin/log": ADMIN_READ,
        "/admin/reviews": REVIEW,
        "/admin/reviews/export": REVIEW,
        "/admin/reviews/{id}": REVIEW,
        "/admin/reviews/{id}/decision": REVIEW,
        "/": OPEN,
        "/health": OPEN,
        "/healthz": OPEN,
        # The state's word only: for the details see `admin_routes`.
        "/readyz": OPEN,
    }
)

Refused = Callable[[GatewayError, tuple[str, int] | None], object]


Told = Callable[[Visitor], Awaitable[Headers]]


async def _nothing(visitor: Visitor) -> Headers:
    del visitor
    return []


def guarded(
    routes: Iterable[Route],
    gate: Callable[[], Authenticate],
    refused: Refused = lambda _error, _client: None,
    told: Told = _nothing,
) -> list[Route]:
    """The routes, each behind what the table says it needs. Raises LookupError for a route without a row.

    `gate` returns the authentication in force. `refused` is told of each refusal, with the client's address. `told` returns
    the headers for a reply to a visitor with a key.
    """
    return [_guarded(route, gate, refused, told) for route in routes]


def needed(path: str, method: str) -> str:
    """The scope that a route needs for a method, or `OPEN`. Raises LookupError for a route without a row."""
    row = path if path in NEEDS else f"{'GET' if method == 'HEAD' else method} {path}"
    if row not in NEEDS:
        raise LookupError(f"the route {row} has no row in the table of http/access.py")
    return NEEDS[row]


def visitor_of(request: Request) -> Visitor:
    """Who sent a request to a guarded route."""
    return cast("Visitor", request.state.visitor)


def _guarded(route: Route, gate: Callable[[], Authenticate], refused: Refused, told: Told) -> Route:
    answer = route.endpoint
    scopes = {method: needed(route.path, method) for method in route.methods or ()}

    async def guard(request: Request) -> Response:
        try:
            authenticate, headers = gate(), header_values(request.scope)
            client = request.scope.get("client")
            peer: str = client[0] if client else ""
            if authenticate.proxies is not None:
                peer = authenticate.proxies.client(peer, headers)
            visitor = await authenticate.admit(headers, scopes[request.method], peer=peer)
        except GatewayError as error:
            refused(error, request.scope.get("client"))
            return as_error(error)
        request.state.visitor = visitor
        response = await answer(request)
        if visitor.caller.key:
            response.raw_headers += await told(visitor)
        return response

    return Route(
        route.path,
        guard,
        methods=sorted(route.methods or ()),
        include_in_schema=route.include_in_schema,
    )
