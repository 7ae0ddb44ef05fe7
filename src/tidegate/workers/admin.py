"""The admin port of the supervisor: health, readiness, metrics and reload for all workers together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.http.admin import answer_ready, answer_reload, answer_scrape, as_json


class Crew(Protocol):
    """What the admin port asks of the supervisor."""

    @property
    def token(self) -> SecretStr | None:
        """The admin token in force."""
        ...

    async def readiness(self) -> tuple[str, list[dict[str, object]]]:
        """`ready` only if every worker is, and each worker's own account."""
        ...

    async def scrape(self) -> bytes: ...
    async def reload(self) -> Sequence[str]: ...


def create_admin_app(crew: Crew) -> Starlette:
    """The application behind the admin port."""

    async def health(_: Request) -> Response:
        return as_json({"status": "ok"})

    async def ready(_: Request) -> Response:
        state, workers = await crew.readiness()
        return answer_ready(state, workers=workers)

    async def metrics(_: Request) -> Response:
        return await answer_scrape(crew.scrape)

    async def reload(request: Request) -> Response:
        return await answer_reload(request, crew.token, crew.reload)

    return Starlette(
        routes=[
            Route("/healthz", health),
            Route("/readyz", ready),
            Route("/metrics", metrics),
            Route("/admin/reload", reload, methods=["POST"]),
        ]
    )
