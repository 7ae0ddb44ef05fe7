"""Health, readiness, metrics, the list of models, and the admin API: everything that is not on the hot path."""

from __future__ import annotations

from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.config import Config
from tidegate.dispatch.state import Inquiry, QueueState
from tidegate.errors import ConfigError, GatewayError, ModelNotFound
from tidegate.gateway import Gateway, Reloaded
from tidegate.http.access import visitor_of
from tidegate.http.admin.queue import queue_route
from tidegate.http.admin.usage import usage_route
from tidegate.http.answers import as_error, as_json
from tidegate.quotas.consumed import Consumed
from tidegate.telemetry.metrics import CONTENT_TYPE
from tidegate.types.caller import ADMIN_READ


class Operator(Protocol):
    """What the admin port asks of whoever runs the calls: one gateway, or the supervisor of several."""

    async def readiness(self) -> tuple[str, dict[str, object]]:
        """The state, `ready` where new calls are welcome, and the details of it."""
        ...

    async def scrape(self) -> bytes:
        """The metrics as Prometheus reads them. Raises GatewayError."""
        ...

    async def reload(self) -> Reloaded:
        """Read the configuration again and swap to it. Raises ConfigError and GatewayError."""
        ...

    async def consumed(self, level: str = "") -> Consumed:
        """What is consumed of limits now, of one level if one is given. Raises GatewayError."""
        ...

    async def queue_state(self, inquiry: Inquiry | None = None) -> QueueState:
        """The queue now, with what the call of an inquiry has to expect. Raises GatewayError."""
        ...

    @property
    def config(self) -> Config:
        """The configuration in force."""
        ...


def admin_routes(operator: Operator) -> list[Route]:
    """Health, readiness, metrics, reload, usage and the queue, for Starlette's router. They have to be `guarded`."""

    async def health(_: Request) -> Response:
        return as_json({"status": "ok"})

    async def ready(request: Request) -> Response:
        state, details = await operator.readiness()
        # Names of engines and why they fail are the operator's business.
        shown = details if ADMIN_READ in visitor_of(request).caller.scopes else {}
        return as_json({"status": state, **shown}, status=200 if state == "ready" else 503)

    async def metrics(_: Request) -> Response:
        try:
            return Response(await operator.scrape(), headers={"content-type": CONTENT_TYPE.decode()})
        except GatewayError as error:
            return as_error(error)

    async def reload(_: Request) -> Response:
        return await _answer_reload(operator)

    return [
        Route("/healthz", health, methods=["GET"]),
        Route("/health", health, methods=["GET"]),  # where engines have it
        Route("/readyz", ready, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/admin/reload", reload, methods=["POST"]),
        usage_route(operator.consumed),
        queue_route(operator.queue_state, lambda: operator.config),
    ]


class Admin:
    """The cold endpoints of one gateway. Satisfies `Operator`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """For Starlette's router. They have to be `guarded`."""
        return [
            *admin_routes(self),
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/v1/models/{model:path}", self._model, methods=["GET"]),
        ]

    async def readiness(self) -> tuple[str, dict[str, object]]:
        """See `Operator`; the details are the state of each engine and store, why engines are not ready, and the queue."""
        details: dict[str, object] = {
            "engines": self._gateway.engine_states,
            "queue": self._gateway.queue_glance,
        }
        if stores := self._gateway.store_states:
            details["stores"] = stores
        if reasons := self._gateway.reasons:
            details["reasons"] = reasons
        return self._gateway.state, details

    async def scrape(self) -> bytes:
        """See `Operator`."""
        return await self._gateway.scrape()

    async def reload(self) -> Reloaded:
        """See `Operator`."""
        return await self._gateway.reload()

    async def consumed(self, level: str = "") -> Consumed:
        """See `Operator`."""
        return await self._gateway.consumed(level)

    async def queue_state(self, inquiry: Inquiry | None = None) -> QueueState:
        """See `Operator`."""
        return await self._gateway.queue_state(inquiry)

    @property
    def config(self) -> Config:
        """See `Operator`."""
        return self._gateway.snapshot.config

    async def _models(self, request: Request) -> Response:
        policy = visitor_of(request).policy
        names = self._gateway.snapshot.models.visible(policy.models, policy.tags)
        return as_json(
            {"object": "list", "data": [_model_object(name) for name in names if not name.endswith("*")]}
        )

    async def _model(self, request: Request) -> Response:
        name: str = request.path_params["model"]
        policy = visitor_of(request).policy
        try:
            self._gateway.snapshot.models.find(name, policy.models, policy.tags)
        except ModelNotFound as error:
            return as_error(error)
        return as_json(_model_object(name))


async def _answer_reload(operator: Operator) -> Response:
    try:
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


def _model_object(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tidegate"}
