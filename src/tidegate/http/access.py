"""What each route needs: one table. A route without a row keeps the gateway from starting."""

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
from tidegate.stages.authenticate import OPEN, Authenticate, Visitor
from tidegate.types import Endpoint, Headers
from tidegate.types.caller import ADMIN_READ, ADMIN_WRITE, INFERENCE, METRICS

NEEDS: Mapping[str, str] = MappingProxyType(
    {
        # Calls: the stage `authenticate` asks for this scope.
        **{f"/v1/{endpoint.value}": INFERENCE for endpoint in Endpoint},
        "/v1/models": INFERENCE,
        "/v1/models/{model:path}": INFERENCE,
        "/openapi.json": INFERENCE,
        "/metrics": METRICS,
        "/admin/reload": ADMIN_WRITE,
        "/admin/usage": ADMIN_READ,
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
    return [_guarded(route, needed(route.path), gate, refused, told) for route in routes]


def needed(path: str) -> str:
    """The scope that a route needs, or `OPEN`. Raises LookupError for a route without a row."""
    if path not in NEEDS:
        raise LookupError(f"the route {path} has no row in the table of http/access.py")
    return NEEDS[path]


def visitor_of(request: Request) -> Visitor:
    """Who sent a request to a guarded route."""
    return cast("Visitor", request.state.visitor)


def _guarded(
    route: Route, scope: str, gate: Callable[[], Authenticate], refused: Refused, told: Told
) -> Route:
    answer = route.endpoint

    async def guard(request: Request) -> Response:
        try:
            client = request.scope.get("client")
            peer = client[0] if client else ""
            visitor = await gate().admit(header_values(request.scope), scope, peer=peer)
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
