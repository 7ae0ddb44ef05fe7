"""`GET /admin/queue`: what waits, at which engines, and what a new call would have to expect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.config import Config
from tidegate.config.queue import DEFAULT_CLASS
from tidegate.dispatch.deployments import unknown
from tidegate.dispatch.state import Inquiry, QueueState
from tidegate.errors import BadRequest, GatewayError
from tidegate.http.admin.asking import meant, number, query_of
from tidegate.http.answers import as_error, as_json

PARAMETERS = ("model", "priority", "tenant", "tokens")
"""The parameters of the query."""


def queue_route(
    state: Callable[[Inquiry | None], Awaitable[QueueState]], config: Callable[[], Config]
) -> Route:
    """Return the route. It has to be `guarded`. `config` returns the configuration in force."""

    async def queue(request: Request) -> Response:
        try:
            return as_json(await state(read(query_of(request, PARAMETERS), config())))
        except GatewayError as error:
            return as_error(error)

    return Route("/admin/queue", queue, methods=["GET"])


def read(query: Mapping[str, str], config: Config) -> Inquiry | None:
    """Read which call is asked for; None if none is. Raises BadRequest, which names the parameter that is wrong."""
    if not query:
        return None
    model, priority, tenant = (
        query.get("model", ""),
        query.get("priority", DEFAULT_CLASS),
        query.get("tenant"),
    )
    if not model:
        raise BadRequest(
            "A forecast needs the query parameter 'model': give the name that a client would send",
            param="model",
        )
    if not _serves(config.models, model):
        raise BadRequest(unknown(model, sorted(config.models)), param="model")
    if priority not in config.queue.classes:
        classes = tuple(config.queue.classes)
        raise BadRequest(f"There is no class '{priority[:40]}'{meant(priority, classes)}", param="priority")
    if tenant == "":
        raise BadRequest(
            "The query parameter 'tenant' is empty: give a name, or leave it out", param="tenant"
        )
    return Inquiry(model, priority, tenant or "", number(query, "tokens", 0))


def _serves(models: Iterable[str], model: str) -> bool:
    return any(model == name or (name[-1:] == "*" and model.startswith(name[:-1])) for name in models)
