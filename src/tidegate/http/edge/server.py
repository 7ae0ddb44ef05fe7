"""The listening socket, and uvicorn's server with the gateway's own protocol."""

from __future__ import annotations

import contextlib
import functools
import logging
import resource
import socket
import ssl
from collections.abc import Generator
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from tidegate.config import ServerConfig, TlsConfig
from tidegate.config.exposure import is_loopback
from tidegate.files import FromFiles
from tidegate.http.edge.handshake import TlsListener
from tidegate.http.edge.limits import Connection, Edge
from tidegate.http.edge.protocol import EdgeProtocol
from tidegate.http.edge.refusals import Refusals
from tidegate.sockets import keep_alive

BACKLOG = 4096
# How much unsent data the kernel buffers for a client that does not read (tcp(7)). Without a limit it buffers megabytes.
UNSENT_BYTES = 128 * 1024
# Open files other than connections of calls: the interpreter's files, logs, and readiness probes of engines.
FILES_BESIDE = 128

log = logging.getLogger(__name__)


class CannotListen(OSError):
    """An address that cannot be listened on, such as one already in use. The message gives the reason."""


def bind(config: ServerConfig, *, shared: bool = False, listens: bool = True) -> socket.socket:
    """Return a listening socket. `shared` lets several processes listen on the same port. Raises CannotListen.

    One that does not listen only keeps its port: no process but those that share it can take it.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    # With this option on both sides, a port on which nobody listens yet could be taken.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(listens))
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    keep_alive(listener)
    try:
        listener.bind((config.host, config.port))
        if listens:
            listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(f"cannot listen on {config.host}:{config.port}: {error.strerror}") from error
    listener.setblocking(False)
    return listener


class EdgeServer(uvicorn.Server):
    """uvicorn's server with the gateway's protocol and settings. Set `should_exit` to stop it."""

    def __init__(
        self, app: ASGIApp, settings: ServerConfig | None = None, refusals: Refusals | None = None
    ) -> None:
        """`refusals` counts the requests that the edge refuses."""
        settings = settings or ServerConfig()
        self.tls = served_tls(settings.tls) if settings.tls else None
        self.edge = Edge(settings, refusals or Refusals())
        # uvicorn only calls `http`, with arguments of its own, but its annotation demands a class.
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
                # The server should not close first: a request that is already on its way would be lost.
                timeout_keep_alive=settings.keep_alive_ms / 1000,  # pyright: ignore[reportArgumentType] - goes to call_later
            )
        )
        self.config.load()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start accepting connections."""
        addresses = [listener.getsockname()[0] for listener in sockets or []]
        if addresses and all(map(is_loopback, addresses)):
            self.edge.listens_on_loopback()
        self.edge.max_connections = allow_files(self.edge.max_connections)
        if self.tls is None or not sockets:
            await super().startup(sockets)
            return
        await super().startup([])
        # The event loop's own TLS listener does not fit, because it reports a connection only after the handshake.
        self.servers: list[Any] = [
            TlsListener(one, self.tls, self.edge, config=self.config, state=self.server_state)
            for one in sockets
        ]

    def cut_connections(self) -> None:
        """Abort the remaining connections, so that no client takes a truncated answer for a complete one."""
        for connection in list(cast("set[Connection]", self.server_state.connections)):
            connection.cut()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Install no signal handlers: the gateway handles signals itself, not uvicorn."""
        yield


def allow_files(connections: int) -> int:
    """Raise the limit of open files to what `connections` need. Return how many connections the new limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    needed = 2 * connections + FILES_BESIDE  # a call also has a connection to its engine
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


def served_tls(config: TlsConfig) -> FromFiles[ssl.SSLContext]:
    """Return the TLS context for new connections, renewed when its files change. Raises what `tls_context` raises."""
    return FromFiles([config.certificate_path, config.key_path], functools.partial(tls_context, config))


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """Return a server context for TLS 1.2 and later. Raises ssl.SSLError if the key does not fit the certificate.

    For TLS 1.2, only cipher suites with forward secrecy and an AEAD cipher are allowed (RFC 9325, 4.2). CBC is not allowed.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.load_cert_chain(config.certificate_path, config.key_path)
    return context
