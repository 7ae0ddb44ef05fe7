"""The ASGI application: calls go straight to their endpoint by path, everything else through Starlette's router."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tidegate.errors import BadRequest, GatewayError, MethodNotAllowed, MethodUnknown, NotFound
from tidegate.gateway import Gateway
from tidegate.http.access import guarded
from tidegate.http.admin import Admin, KeyRoutes, ReviewRoutes
from tidegate.http.answers import as_error, identified
from tidegate.http.call import CallEndpoint
from tidegate.http.cors import Cors
from tidegate.http.edge.refusals import Refusals
from tidegate.http.hints import hint
from tidegate.http.openapi.document import Document
from tidegate.http.welcome import welcome
from tidegate.types import Endpoint

# The names of models may need percent signs. Anywhere else they are a disguise: `/%61dmin/reload` would be the admin API to
# us, and not to a proxy in front that shuts out `/admin/`.
_MODELS = b"/v1/models/"
# Those of RFC 9110 and RFC 5789, and QUERY (draft-ietf-httpbis-safe-method-w-body). A route that does not take one of them
# says which it takes. No route takes any other.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"})
_ANY_ROUTE_ALLOWS = "GET, HEAD, POST, OPTIONS"


ADMIN = "/admin/"
"""What the paths of the admin API begin with."""


class App:
    """Dispatch. Routes on the ASGI path alone, never on a URL rebuilt from the Host header."""

    def __init__(self, gateway: Gateway, refusals: Refusals, *, apart: bool = False) -> None:
        """`apart` leaves out the admin API, which has a port of its own then."""
        self._refusals = refusals
        turn = asyncio.Lock()
        self._calls = {
            f"/v1/{endpoint.value}": CallEndpoint(endpoint, gateway, turn) for endpoint in Endpoint
        }
        reviews = ReviewRoutes(lambda: gateway.snapshot.desk, gateway.runtime.wall)
        every = [*Admin(gateway).routes(), *KeyRoutes(gateway).routes(), *reviews.routes()]
        cold = [route for route in every if not (apart and route.path.startswith(ADMIN))]
        routes = [*cold, Document(gateway, cold).route()]
        self._known = [*self._calls, *(route.path for route in routes)]
        shown = [route for route in routes if not route.path.startswith(ADMIN)]
        self._rest = Starlette(
            routes=guarded(
                [*routes, welcome(self._calls, shown)],
                lambda: gateway.snapshot.authenticate,
                refusals.add,
                lambda visitor: gateway.snapshot.limit.standing(visitor.policy),
            ),
            exception_handlers={HTTPException: self._http_error, Exception: _bug},
        )
        # A redirect would name the host that the client named.
        self._rest.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "http":
            raw_path: bytes = scope.get("raw_path") or b""
            if b"%" in raw_path and not raw_path.startswith(_MODELS):
                answer = self._refuse(scope, NotFound("No path here is written with a percent sign"))
                return await answer(scope, receive, identified(scope, send))
            endpoint = self._calls.get(scope["path"])
            if endpoint is not None:
                if scope["method"] == "POST":
                    return await endpoint(scope, receive, send)
                answer = self._wrong_method(scope, "takes POST, not", {"allow": "POST"})
                return await answer(scope, receive, identified(scope, send))
            if scope["path"] == "*":
                return await self._whole_server(scope)(scope, receive, identified(scope, send))
            return await self._rest(scope, receive, identified(scope, send))
        return await self._rest(scope, receive, send)

    def _refuse(self, scope: Scope, error: GatewayError, more: Mapping[str, str] | None = None) -> Response:
        self._refusals.add(error, scope.get("client"))
        return as_error(error, more)

    def _wrong_method(self, scope: Scope, words: str, more: Mapping[str, str]) -> Response:
        method = scope["method"]
        if method not in _METHODS:
            return self._refuse(scope, MethodUnknown(f"The method '{method}' is not implemented here"))
        return self._refuse(scope, MethodNotAllowed(f"{scope['path']} {words} {method}"), more)

    def _whole_server(self, scope: Scope) -> Response:
        """The target `*`: what the server as a whole can do (RFC 9110, 9.3.7)."""
        if scope["method"] == "OPTIONS":
            return Response(status_code=204, headers={"allow": _ANY_ROUTE_ALLOWS})
        return self._refuse(scope, BadRequest("The target '*' goes with the method OPTIONS only"))

    async def _http_error(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        scope = request.scope
        path, method = scope["path"], scope["method"]
        if status == 405 or method not in _METHODS:
            allowed = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
            return self._wrong_method(scope, "does not take", allowed)
        if status == 404:
            return self._refuse(scope, NotFound(f"There is no {path}{hint(path, self._known)}"))
        return self._refuse(scope, BadRequest(f"{method} {path} failed with status {status}"))


def create_app(gateway: Gateway, refusals: Refusals | None = None) -> ASGIApp:
    """The application for an ASGI server. The gateway must be open. `refusals` is where it counts them."""
    app: ASGIApp = App(gateway, refusals or Refusals(), apart=gateway.admin_apart)
    return Cors(app, gateway.settings) if gateway.settings.cors_origins else app


async def _bug(_: Request, error: Exception) -> Response:
    """What the router answers with before it raises the error again, for the log."""
    del error
    return as_error(GatewayError("The gateway failed; the operator can find the cause in the log"))
