"""Listening: a socket, and uvicorn's server with our protocol on it."""

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
# What the kernel holds back of an answer that its client does not read (tcp(7)); without a bound it takes megabytes.
UNSENT_BYTES = 128 * 1024
# Open files beside connections: the interpreter's, engines being asked whether they are ready, logs.
FILES_BESIDE = 128

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
    keep_alive(listener)
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

    def __init__(
        self, app: ASGIApp, settings: ServerConfig | None = None, refusals: Refusals | None = None
    ) -> None:
        """`refusals` is where the edge counts them."""
        settings = settings or ServerConfig()
        self.tls = served_tls(settings.tls) if settings.tls else None
        self.edge = Edge(settings, refusals or Refusals())
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
        if self.tls is None or not sockets:
            await super().startup(sockets)
            return
        await super().startup([])
        # Not the event loop's own TLS, which tells us of nobody before the handshake is done.
        self.servers: list[Any] = [
            TlsListener(one, self.tls, self.edge, config=self.config, state=self.server_state)
            for one in sockets
        ]

    def cut_connections(self) -> None:
        """Close what is left, so that no client takes a cut answer for a whole one."""
        for connection in list(cast("set[Connection]", self.server_state.connections)):
            connection.cut()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Uvicorn's own handlers stay out: signals are ours."""
        yield


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


def served_tls(config: TlsConfig) -> FromFiles[ssl.SSLContext]:
    """Return the context for new connections, made again when its files change. Raises what `tls_context` raises."""
    return FromFiles([config.certificate_path, config.key_path], functools.partial(tls_context, config))


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """A server context, TLS 1.2 and up. Raises ssl.SSLError for files that do not fit together.

    Of the suites of TLS 1.2 only those with forward secrecy and an AEAD cipher, as RFC 9325, 4.2, recommends: no CBC.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.load_cert_chain(config.certificate_path, config.key_path)
    return context
