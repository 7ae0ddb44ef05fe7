"""Health, readiness, metrics, the list of models, and the admin API: everything that is not on the hot path."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.errors import ConfigError, Forbidden, GatewayError, ModelNotFound, Unauthenticated
from tidegate.gateway import Gateway
from tidegate.telemetry.metrics import CONTENT_TYPE


def as_json(content: object, *, status: int = 200) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def as_error(error: GatewayError, more: Mapping[str, str] | None = None) -> Response:
    """An error in OpenAI's shape, with `more` headers."""
    headers = {name.decode(): value.decode() for name, value in error.headers()} | dict(more or {})
    return Response(error.body(), error.status, headers, media_type="application/json")


class Admin:
    """The cold endpoints of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """For Starlette's router."""
        return [
            Route("/healthz", self._health, methods=["GET"]),
            Route("/readyz", self._ready, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/v1/models/{model:path}", self._model, methods=["GET"]),
            Route("/admin/reload", self._reload, methods=["POST"]),
        ]

    async def _health(self, _: Request) -> Response:
        return as_json({"status": "ok"})

    async def _ready(self, _: Request) -> Response:
        return answer_ready(self._gateway.state, engines=self._gateway.engine_states)

    async def _metrics(self, _: Request) -> Response:
        return await answer_scrape(self._gateway.scrape)

    async def _models(self, _: Request) -> Response:
        names = self._gateway.snapshot.models.names
        return as_json(
            {"object": "list", "data": [_model_object(name) for name in names if not name.endswith("*")]}
        )

    async def _model(self, request: Request) -> Response:
        name: str = request.path_params["model"]
        try:
            self._gateway.snapshot.models.find(name)
        except ModelNotFound as error:
            return as_error(error)
        return as_json(_model_object(name))

    async def _reload(self, request: Request) -> Response:
        async def reload() -> Sequence[str]:
            await self._gateway.reload()
            return self._gateway.snapshot.models.names

        return await answer_reload(request, self._gateway.snapshot.config.admin.token, reload)


def answer_ready(state: str, **more: object) -> Response:
    """The answer to GET /readyz."""
    return as_json({"status": state, **more}, status=200 if state == "ready" else 503)


async def answer_scrape(scrape: Callable[[], Awaitable[bytes]]) -> Response:
    """The answer to GET /metrics."""
    try:
        return Response(await scrape(), headers={"content-type": CONTENT_TYPE.decode()})
    except GatewayError as error:
        return as_error(error)


async def answer_reload(
    request: Request, token: SecretStr | None, reload: Callable[[], Awaitable[Sequence[str]]]
) -> Response:
    """The answer to POST /admin/reload; `reload` returns the names of the models in force."""
    try:
        _authorize(request, token)
        models = await reload()
    except GatewayError as error:
        return as_error(error)
    except ConfigError as error:
        problems = [{"path": problem.path, "message": problem.message} for problem in error.problems]
        detail = {
            "message": str(error),
            "type": "invalid_request_error",
            "code": "invalid_config",
            "param": None,
        }
        return as_json({"error": detail, "problems": problems}, status=422)
    return as_json({"status": "reloaded", "models": models})


def _authorize(request: Request, token: SecretStr | None) -> None:
    """Raises Forbidden where no token is configured, Unauthenticated for a wrong one."""
    if token is None:
        raise Forbidden("The admin API is closed: set admin.token in the configuration")
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token.get_secret_value()}".encode()):
        raise Unauthenticated("The admin API wants 'Authorization: Bearer <admin.token>'")


def _model_object(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tidegate"}
