"""Health, readiness, metrics, the list of models, and the admin API: everything that is not on the hot path."""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Mapping
from typing import Protocol

import msgspec
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Scope, Send

from tidegate.errors import (
    RETRY_AFTER_S,
    ConfigError,
    Forbidden,
    GatewayError,
    ModelNotFound,
    Unauthenticated,
)
from tidegate.gateway import Gateway, Reloaded
from tidegate.http.edge.cycle import request_id_of
from tidegate.telemetry.metrics import CONTENT_TYPE


def as_json(content: object, *, status: int = 200) -> Response:
    """A JSON response. A 503 says when to come back."""
    headers = {"retry-after": f"{RETRY_AFTER_S:g}"} if status == 503 else None
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


def as_error(error: GatewayError, more: Mapping[str, str] | None = None) -> Response:
    """An error in OpenAI's shape, with `more` headers."""
    headers = {name.decode(): value.decode() for name, value in error.headers()} | dict(more or {})
    return Response(error.body(), error.status, headers, media_type="application/json")


def identified(scope: Scope, send: Send) -> Send:
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


class Operator(Protocol):
    """What the admin port asks of whoever runs the calls: one gateway, or the supervisor of several."""

    @property
    def token(self) -> SecretStr | None:
        """The admin token in force."""
        ...

    async def readiness(self) -> tuple[str, dict[str, object]]:
        """The state, `ready` where new calls are welcome, and the details of it."""
        ...

    async def scrape(self) -> bytes:
        """The metrics as Prometheus reads them. Raises GatewayError."""
        ...

    async def reload(self) -> Reloaded:
        """Read the configuration again and swap to it. Raises ConfigError and GatewayError."""
        ...


def admin_routes(operator: Operator) -> list[Route]:
    """Health, readiness, metrics and reload, for Starlette's router."""

    async def health(_: Request) -> Response:
        return as_json({"status": "ok"})

    async def ready(_: Request) -> Response:
        state, details = await operator.readiness()
        return as_json({"status": state, **details}, status=200 if state == "ready" else 503)

    async def metrics(_: Request) -> Response:
        try:
            return Response(await operator.scrape(), headers={"content-type": CONTENT_TYPE.decode()})
        except GatewayError as error:
            return as_error(error)

    async def reload(request: Request) -> Response:
        return await _answer_reload(request, operator)

    return [
        Route("/healthz", health, methods=["GET"]),
        Route("/health", health, methods=["GET"]),  # where engines have it
        Route("/readyz", ready, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/admin/reload", reload, methods=["POST"]),
    ]


class Admin:
    """The cold endpoints of one gateway. Satisfies `Operator`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """For Starlette's router."""
        return [
            *admin_routes(self),
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/v1/models/{model:path}", self._model, methods=["GET"]),
        ]

    @property
    def token(self) -> SecretStr | None:
        """See `Operator`."""
        return self._gateway.snapshot.config.admin.token

    async def readiness(self) -> tuple[str, dict[str, object]]:
        """See `Operator`; the details are the state of each engine."""
        return self._gateway.state, {"engines": self._gateway.engine_states}

    async def scrape(self) -> bytes:
        """See `Operator`."""
        return await self._gateway.scrape()

    async def reload(self) -> Reloaded:
        """See `Operator`."""
        return await self._gateway.reload()

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


async def _answer_reload(request: Request, operator: Operator) -> Response:
    try:
        _authorize(request, operator.token)
        reloaded = await operator.reload()
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
    return as_json({"status": "reloaded", **msgspec.to_builtins(reloaded)})


def _authorize(request: Request, token: SecretStr | None) -> None:
    """Raises Forbidden where no token is configured, Unauthenticated for a wrong one."""
    if token is None:
        raise Forbidden("The admin API is closed: set admin.token in the configuration")
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token.get_secret_value()}".encode()):
        raise Unauthenticated("The admin API wants 'Authorization: Bearer <admin.token>'")


def _model_object(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tidegate"}
