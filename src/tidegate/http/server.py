"""Listening and draining: uvicorn underneath, our order of events at the end.

SIGTERM or SIGINT: readiness says no, new requests are still served for `drain_grace_s`, then the listener closes, running
calls have `drain_deadline_s`, and what is left is ended with an error. A second signal skips the waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Generator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from tidegate.config import ServerConfig, TlsConfig
from tidegate.gateway import Gateway
from tidegate.http.app import create_app
from tidegate.http.edge import Edge
from tidegate.http.hosts import is_loopback
from tidegate.http.protocol import EdgeProtocol

BACKLOG = 4096
# What the kernel holds back of an answer that its client does not read (tcp(7)); without a bound it takes megabytes.
UNSENT_BYTES = 128 * 1024
# Open files beside connections: the interpreter's, engines being asked whether they are ready, logs.
FILES_BESIDE = 128
# After their calls were ended, clients get this long to read the last event.
LAST_WORDS_S = 2.0

log = logging.getLogger(__name__)


class CannotListen(OSError):
    """The address is taken or not ours; the message says which."""


def bind(config: ServerConfig, *, shared: bool = False) -> socket.socket:
    """A listening socket. `shared` lets several processes listen on the same port. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(f"cannot listen on {config.host}:{config.port}: {error.strerror}") from error
    listener.setblocking(False)
    return listener


class EdgeServer(uvicorn.Server):
    """uvicorn as we set it up. Stop it by `should_exit`."""

    def __init__(self, app: ASGIApp, settings: ServerConfig | None = None) -> None:
        settings = settings or ServerConfig()
        self.edge = Edge(settings)
        # uvicorn calls what it is given, with what only it knows; its type asks for a class.
        protocol: Any = functools.partial(EdgeProtocol, edge=self.edge)
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                # A server that closes first loses the request that is just on its way.
                timeout_keep_alive=settings.keep_alive_ms / 1000,  # pyright: ignore[reportArgumentType] - goes to call_later
            )
        )
        self.config.load()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        addresses = [listener.getsockname()[0] for listener in sockets or []]
        if addresses and all(map(is_loopback, addresses)):
            self.edge.listens_on_loopback()
        self.edge.max_connections = allow_files(self.edge.max_connections)
        await super().startup(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Uvicorn's own handlers stay out: signals are ours."""
        yield


class GatewayServer(EdgeServer):
    """Serves one open gateway until it is asked to drain."""

    def __init__(self, gateway: Gateway, listener: socket.socket) -> None:
        settings = gateway.settings
        super().__init__(create_app(gateway), settings)
        if settings.tls is not None:
            self.config.ssl = tls_context(settings.tls)
        self._gateway = gateway
        self._listener = listener
        self._grace_s = settings.drain_grace_s
        self._deadline_s = settings.drain_deadline_s
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()

    def obey_signals(self) -> None:
        """From now on SIGTERM and SIGINT drain, SIGHUP reloads."""
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self.drain)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    async def serve_until_drained(self) -> None:
        """Serve; returns when everything is drained."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._drain())
            await self._serve([self._listener])

    def drain(self, *, grace_s: float | None = None) -> None:
        """Begin to end; `grace_s` instead of the configured grace. Asked a second time: skip the waiting."""
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
        live = self._gateway.live
        await self._until(lambda: not live or self._hurry.is_set(), self._deadline_s)
        if live:
            log.warning("ending %d calls that are still running", len(live))
            self._gateway.stop_calls()
        await self._until(lambda: not self.server_state.connections, LAST_WORDS_S)
        self.force_exit = True

    async def _until(self, reached: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition, at most so long. Looking now and then costs a request nothing; an event would."""
        end = self._gateway.clock() + seconds
        while not reached() and self._gateway.clock() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def allow_files(connections: int) -> int:
    """Have the system allow as many open files as so many connections need; how many connections that really allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    needed = 2 * connections + FILES_BESIDE  # a call has one to the engine too
    if soft != unlimited and soft < needed:
        soft = needed if hard == unlimited else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == unlimited or soft >= needed:
        return connections
    allowed = max(1, (soft - FILES_BESIDE) // 2)
    log.warning(
        "the limit of open files, %d, allows %d connections instead of %d", soft, allowed, connections
    )
    return allowed


def settle_garbage() -> None:
    """What was loaded stays: keep the collector from walking it, and let it walk the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """A server context, TLS 1.2 and up. Raises ssl.SSLError for files that do not fit together."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.certificate_path, config.key_path)
    return context
