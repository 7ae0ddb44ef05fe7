"""`GET /openapi.json`: our own API as an OpenAPI document. What it says comes from `description`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.gateway import Gateway


class Document:
    """The document of one gateway, made when it is first asked for and again when the configuration has changed."""

    def __init__(self, gateway: Gateway, cold: Sequence[Route]) -> None:
        """`cold` are the routes beside those that make calls."""
        self._gateway = gateway
        self._cold = [*cold, self.route()]
        self._made_for: object = None
        self._body = b""

    def route(self) -> Route:
        """For Starlette's router."""
        return Route("/openapi.json", self._answer, methods=["GET"])

    async def _answer(self, _: Request) -> Response:
        snapshot = self._gateway.snapshot
        if self._made_for is not snapshot.config:
            # Late: few ask, and every start would wait for it.
            from tidegate.http.description import describe  # noqa: PLC0415

            self._body = msgspec.json.encode(describe(snapshot.models, self._cold))
            self._made_for = snapshot.config
        return Response(self._body, media_type="application/json")
