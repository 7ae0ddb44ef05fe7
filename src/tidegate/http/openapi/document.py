"""Serves the gateway's own API as an OpenAPI document, at `GET /openapi.json`. `description.py` makes the content."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.gateway import Gateway


class Document:
    """The document of one gateway. It is made at the first request for it, and again after a change of configuration."""

    def __init__(self, gateway: Gateway, cold: Sequence[Route]) -> None:
        """`cold` are the routes that make no call."""
        self._gateway = gateway
        self._cold = [*cold, self.route()]
        self._made_for: object = None
        self._body = b""

    def route(self) -> Route:
        """Return the route of the document, for Starlette's router."""
        return Route("/openapi.json", self._answer, methods=["GET"])

    async def _answer(self, _: Request) -> Response:
        snapshot = self._gateway.snapshot
        if self._made_for is not snapshot.config:
            # Imported late, because few clients request the document and an import above would slow down every start.
            from tidegate.http.openapi.description import describe  # noqa: PLC0415

            self._body = msgspec.json.encode(
                describe(snapshot.models, self._cold, snapshot.authenticate.policies.classes)
            )
            self._made_for = snapshot.config
        return Response(self._body, media_type="application/json")
