"""The ASGI application: calls go straight to their endpoint by path, everything else through Starlette's router."""

from __future__ import annotations

import asyncio
import os
import time

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.errors import BadRequest, GatewayError, MethodNotAllowed, NotFound
from tidegate.gateway import Gateway
from tidegate.http.admin import Admin, as_error
from tidegate.http.call import CallEndpoint
from tidegate.http.document import Document
from tidegate.http.responder import request_id_of
from tidegate.types import Endpoint

# The names of models may need percent signs. Anywhere else they are a disguise: `/%61dmin/reload` would be the admin API to
# us, and not to a proxy in front that shuts out `/admin/`.
_MODELS = b"/v1/models/"


class App:
    """Dispatch. Routes on the ASGI path alone, never on a URL rebuilt from the Host header."""

    def __init__(self, gateway: Gateway) -> None:
        turn = asyncio.Lock()
        self._calls = {
            f"/v1/{endpoint.value}": CallEndpoint(endpoint, gateway, turn) for endpoint in Endpoint
        }
        cold = Admin(gateway).routes()
        self._rest = Starlette(
            routes=[*cold, Document(gateway, cold).route()],
            exception_handlers={HTTPException: _http_error, Exception: _bug},
        )
        # A redirect would name the host that the client named.
        self._rest.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "http":
            raw_path: bytes = scope.get("raw_path") or b""
            if b"%" in raw_path and not raw_path.startswith(_MODELS):
                refusal = as_error(NotFound("No path here is written with a percent sign"))
                return await refusal(scope, receive, _identified(scope, send))
            endpoint = self._calls.get(scope["path"])
            if endpoint is not None:
                if scope["method"] == "POST":
                    return await endpoint(scope, receive, send)
                refusal = as_error(_method_error(scope), {"allow": "POST"})
                return await refusal(scope, receive, _identified(scope, send))
            return await self._rest(scope, receive, _identified(scope, send))
        return await self._rest(scope, receive, send)


def create_app(gateway: Gateway) -> ASGIApp:
    """The application for an ASGI server. The gateway must be open."""
    app: ASGIApp = App(gateway)
    origins = gateway.settings.cors_origins
    if origins:
        app = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "server-timing", "retry-after"],
        )
    return app


def _identified(scope: Scope, send: Send) -> Send:
    """Give an answer the headers that every answer has: the request's id and its time, milliseconds."""
    request_id = request_id_of(dict(scope["headers"])) or b"req_" + os.urandom(12).hex().encode()
    began = time.monotonic()

    async def send_identified(message: Message) -> None:
        if message["type"] == "http.response.start":
            timing = b"total;dur=%.3f" % ((time.monotonic() - began) * 1000)
            message["headers"] = [
                *message["headers"],
                (b"x-request-id", request_id),
                (b"server-timing", timing),
            ]
        await send(message)

    return send_identified


def _method_error(scope: Scope) -> GatewayError:
    return MethodNotAllowed(f"{scope['path']} takes POST, not {scope['method']}")


async def _bug(_: Request, error: Exception) -> Response:
    """What the router answers with before it raises the error again, for the log."""
    del error
    return as_error(GatewayError("The gateway failed; the operator can find the cause in the log"))


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    path, method = request.scope["path"], request.scope["method"]
    if status == 404:
        return as_error(NotFound(f"There is no {path}"))
    if status == 405:
        allowed = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        return as_error(MethodNotAllowed(f"{path} does not take {method}"), allowed)
    return as_error(BadRequest(f"{method} {path} failed with status {status}"))
