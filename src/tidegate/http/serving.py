"""Serves one gateway, and drains it at the end.

SIGTERM or SIGINT starts the drain. Readiness turns false, and new requests are still served for `drain_grace_s`. Then the
listener closes, and running calls have `drain_deadline_s` to finish. Calls that are still running after that are ended
with an error. A second signal skips the waiting.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable

from starlette.applications import Starlette

from tidegate.config import Config, ServerConfig
from tidegate.config.exposure import check_exposure
from tidegate.gateway import Gateway
from tidegate.http.access import guarded
from tidegate.http.admin import Admin, KeyRoutes, ReviewRoutes, admin_routes
from tidegate.http.app import create_app
from tidegate.http.edge.refusals import Refusals
from tidegate.http.edge.server import CannotListen, EdgeServer, bind
from tidegate.http.heap import give_back_large_blocks

# After the deadline, clients have this long to read the error that ended their calls.
LAST_WORDS_S = 2.0

log = logging.getLogger(__name__)


class GatewayServer(EdgeServer):
    """A server for one open gateway, which serves until it is asked to drain."""

    def __init__(self, gateway: Gateway, listener: socket.socket) -> None:
        """Raises ConfigError for an address that needs keys where there are none."""
        gateway.address = listener.getsockname()[0]
        check_exposure(gateway.snapshot.config, gateway.address)
        settings = gateway.settings
        refusals = Refusals()
        super().__init__(create_app(gateway, refusals), settings, refusals)
        gateway.runtime.metrics.add_gauges(refusals.metrics)
        self._gateway = gateway
        self._listener = listener
        self._grace_s = settings.drain_grace_s
        self._deadline_s = settings.drain_deadline_s
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()

    def obey_signals(self) -> None:
        """Install signal handlers: SIGTERM and SIGINT drain, SIGHUP reloads the configuration."""
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self.drain)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    async def serve_until_drained(self) -> None:
        """Serve until the server is drained."""
        give_back_large_blocks()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._drain())
            await self._serve([self._listener])

    def drain(self, *, grace_s: float | None = None) -> None:
        """Start draining, with `grace_s` in place of the configured grace. A second call skips the waiting."""
        if self._gateway.draining:
            self._hurry.set()
            return
        self._gateway.draining = True
        if grace_s is not None:
            self._grace_s = grace_s
        self._ending.set()

    def _on_hangup(self) -> None:
        self._gateway.runtime.spawn(self._gateway.try_reload(), name="reload on SIGHUP")

    async def _drain(self) -> None:
        await self._ending.wait()
        log.info(
            "draining: accepting for %g s more, then up to %g s for running calls",
            self._grace_s,
            self._deadline_s,
        )
        await self._until(self._hurry.is_set, self._grace_s)
        self.should_exit = True
        live, connections = self._gateway.live, self.server_state.connections
        # Wait for connections too: a call can end before its client has read the whole answer.
        await self._until(
            lambda: not (live or connections) or self._hurry.is_set(),
            self._deadline_s,
        )
        if live:
            log.warning("ending %d calls that are still running", len(live))
            self._gateway.stop_calls()
        await self._until(lambda: not connections, LAST_WORDS_S)
        self.cut_connections()
        self.force_exit = True

    async def _until(self, reached: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition, at most `seconds`. Unlike an event, polling adds no cost to requests."""
        end = self._gateway.clock() + seconds
        while not reached() and self._gateway.clock() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


class AdminServer(EdgeServer):
    """A server for the admin port of one open gateway: health, metrics and the admin API."""

    def __init__(self, gateway: Gateway, listener: socket.socket) -> None:
        """Raises ConfigError for an address that needs keys where there are none."""
        gateway.admin_address = listener.getsockname()[0]
        check_exposure(gateway.snapshot.config, gateway.admin_address, setting="admin.host")
        reviews = ReviewRoutes(lambda: gateway.snapshot.desk, gateway.runtime.wall)
        routes = [*admin_routes(Admin(gateway)), *KeyRoutes(gateway).routes(), *reviews.routes()]
        super().__init__(Starlette(routes=guarded(routes, lambda: gateway.snapshot.authenticate)))
        self._listener = listener

    async def serve_until_cancelled(self) -> None:
        """Serve until the task is cancelled. The server of the calls obeys the signals."""
        await self._serve([self._listener])


def bind_admin(config: Config) -> socket.socket:
    """Return the listening socket of the admin port. Raises CannotListen."""
    try:
        return bind(ServerConfig(host=config.admin.host, port=config.admin.port))
    except CannotListen as error:
        raise CannotListen(f"admin.port: {error}; choose another port, or 0 for any free one") from error


def settle_garbage() -> None:
    """Exclude all objects loaded so far from garbage collection, and make collections of the others rarer."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
