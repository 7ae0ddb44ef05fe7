"""`tidegate serve`: run the gateway."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import uvloop
from cyclopts import Parameter, validators

from tidegate.cli import settings
from tidegate.config import DEFAULT_PATH, Config, ServerConfig, warnings
from tidegate.config.exposure import check_exposure, exposure
from tidegate.errors import ConfigError
from tidegate.files import Stamp, stamp
from tidegate.gateway import Gateway
from tidegate.http.edge.server import CannotListen, bind
from tidegate.http.serving import AdminServer, GatewayServer, bind_admin, settle_garbage

log = logging.getLogger(__name__)


def _not_empty(_: object, host: str | None) -> None:
    if host is not None and not host.strip():
        raise ValueError(
            "must not be empty: 127.0.0.1 accepts connections of this machine only, 0.0.0.0 of every network"
        )


def serve(  # noqa: PLR0913 - an option each
    *,
    config: Annotated[Path | None, Parameter(("--config", "-c"))] = None,
    model: Path | None = None,
    demo: Annotated[bool, Parameter(negative="")] = False,
    host: Annotated[str | None, Parameter(validator=_not_empty)] = None,
    port: settings.Port | None = None,
    workers: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1,
    log_level: Literal["debug", "info", "warning", "error"] = "info",
) -> None:
    """Serve the OpenAI API.

    Without a configuration, the embedded engine serves `smollm2-135m-instruct` and `default`, without a key or a download.
    SIGHUP, a change of the file or POST /admin/reload reads the configuration again. SIGTERM drains and ends the gateway.

    Parameters
    ----------
    config
        The configuration file. Default: tidegate.yaml in this directory, else the built-in configuration.
    model
        A GGUF file for the embedded engine of the built-in configuration.
    demo
        Add the model `demo` to the built-in configuration. Its scripted answers demonstrate timing and faults.
    host
        Address to listen on, instead of server.host.
    port
        Port to listen on, instead of server.port; 0 chooses a free port.
    workers
        Number of processes that serve the port together, best one per core. They divide the engines' limits and share the
        embedded engine. The port at admin.host and admin.port has the metrics and states of all of them.
    log_level
        Lowest level of the messages that are logged.

    """
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    seen = stamp(
        config or DEFAULT_PATH
    )  # taken before the file is read, so that a change meanwhile is noticed
    loaded, path = settings.load(config, model, demo=demo)
    log.info("the configuration is %s", path.resolve() if path else "the built-in one: no tidegate.yaml here")
    for problem in warnings(loaded, datetime.now(UTC).timestamp()):
        log.warning("%s: %s", problem.path, problem.message)
    overrides = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    server = loaded.server.model_copy(update=overrides)
    try:
        if workers == 1:
            uvloop.run(run(loaded, path, server, seen))
        else:
            # Imported here, because only several workers need a supervisor.
            from tidegate.workers.supervisor import Source, supervise  # noqa: PLC0415

            model_path = str(model) if model else None
            source = Source(model_path=model_path, demo=demo, host=host, port=port)
            uvloop.run(supervise(source, path, workers=workers, log_level=log_level.upper()))
    except* ConfigError as group:
        settings.fail("\n".join(str(error) for error in group.exceptions))
    except* CannotListen as group:
        settings.fail("\n".join(str(error) for error in group.exceptions))


async def run(config: Config, path: Path | None, settings: ServerConfig, seen: Stamp | None) -> None:
    """Open the gateway, serve until a signal arrives, then drain. Raises ConfigError and CannotListen."""
    listener = bind(settings)
    check_exposure(config, listener.getsockname()[0])  # before an engine starts in vain
    admin = bind_admin(config) if config.admin.apart else None
    async with Gateway(config, path=path, settings=settings, seen=seen) as gateway:
        scheme = "https" if settings.tls else "http"
        host, port = listener.getsockname()[:2]
        server = GatewayServer(gateway, listener)
        server.obey_signals()
        if admin is not None:
            serving = AdminServer(gateway, admin).serve_until_cancelled()
            gateway.runtime.spawn(serving, name="serve the admin port")
            log.info("the admin port: http://%s:%d", *admin.getsockname()[:2])
        settle_garbage()
        log.info("%s", exposure(config))
        log.info("serving %s on %s://%s:%d/v1", ", ".join(gateway.snapshot.models.names), scheme, host, port)
        await server.serve_until_drained()
