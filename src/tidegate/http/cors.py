"""Lets web pages of other origins call the gateway (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).

Starlette's middleware implements the protocol. This module decides which headers of an answer a script may read, and
answers a refused preflight with an error of the usual form.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tidegate.config import ServerConfig
from tidegate.errors import Forbidden
from tidegate.http.answers import as_error, identified

# Headers that clients in browsers use. OpenAI's own client reads the first four.
_EXPOSED = (
    "x-request-id",
    "x-should-retry",
    "retry-after",
    "retry-after-ms",
    "server-timing",
    "x-tidegate-idempotency",
    *(
        f"x-ratelimit-{what}-{of}"
        for what in ("limit", "remaining", "reset")
        for of in ("requests", "tokens")
    ),
)


class Cors(CORSMiddleware):
    """An ASGI middleware that makes the application available to the origins in the settings."""

    def __init__(self, app: ASGIApp, settings: ServerConfig) -> None:
        super().__init__(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            allow_private_network=settings.cors_private_network,
            expose_headers=_EXPOSED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection: answer a preflight, or pass the connection to the application."""
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            headers = Headers(scope=scope)
            if "origin" in headers and "access-control-request-method" in headers:
                answer = self.preflight_response(request_headers=headers)
                return await answer(scope, receive, identified(scope, send))
        return await super().__call__(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the answer to a preflight, which asks whether a request may be sent."""
        answer = super().preflight_response(request_headers)
        if answer.status_code == 200:
            return answer
        refusal = as_error(Forbidden(self._why_not(request_headers)))
        for name, value in answer.headers.items():
            if name not in refusal.headers:
                refusal.headers[name] = value
        return refusal

    def _why_not(self, asked: Headers) -> str:
        origin, method = asked["origin"], asked["access-control-request-method"]
        if not self.is_allowed_origin(origin):
            return f"Pages of '{origin}' may not call this gateway: add the origin to server.cors_origins"
        if method not in self.allow_methods:
            return f"Pages of other origins may not use the method '{method}'"
        return "Pages of a public network may not call a private one: set server.cors_private_network to allow it"
