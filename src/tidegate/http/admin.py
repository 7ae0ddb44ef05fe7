"""Health, readiness, metrics, the list of models, and the admin API: everything that is not on the hot path."""

from __future__ import annotations

import hmac

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.errors import ConfigError, Forbidden, GatewayError, ModelNotFound, Unauthenticated
from tidegate.gateway import Gateway
from tidegate.telemetry.metrics import CONTENT_TYPE


def as_json(content: object, *, status: int = 200) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def as_error(error: GatewayError) -> Response:
    """An error in OpenAI's shape."""
    headers = {name.decode(): value.decode() for name, value in error.headers()}
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
        gateway = self._gateway
        engines = {
            running.name: "ready" if running.ready else "not ready" for running in gateway.runtime.engines()
        }
        state = "draining" if gateway.draining else "ready" if gateway.ready() else "not ready"
        return as_json({"status": state, "engines": engines}, status=200 if state == "ready" else 503)

    async def _metrics(self, _: Request) -> Response:
        return Response(
            self._gateway.runtime.metrics.render(), headers={"content-type": CONTENT_TYPE.decode()}
        )

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
        try:
            self._authorize(request)
            await self._gateway.reload()
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
        return as_json({"status": "reloaded", "models": self._gateway.snapshot.models.names})

    def _authorize(self, request: Request) -> None:
        """Raises Forbidden where no token is configured, Unauthenticated for a wrong one."""
        token = self._gateway.snapshot.config.admin.token
        if token is None:
            raise Forbidden("The admin API is closed: set admin.token in the configuration")
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token.get_secret_value()}".encode()):
            raise Unauthenticated("The admin API wants 'Authorization: Bearer <admin.token>'")


def _model_object(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tidegate"}
