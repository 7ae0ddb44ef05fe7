"""Listening and draining: uvicorn underneath, our order of events at the end.

SIGTERM or SIGINT: readiness says no, new requests are still served for `drain_grace_s`, then the listener closes, running
calls have `drain_deadline_s`, and what is left is ended with an error. A second signal skips the waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Generator

import uvicorn

from tidegate.config import ServerConfig, TlsConfig
from tidegate.gateway import Gateway
from tidegate.http.app import create_app
from tidegate.http.protocol import EdgeProtocol

BACKLOG = 4096
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


class GatewayServer(uvicorn.Server):
    """Serves one open gateway until a signal comes, then drains."""

    def __init__(self, gateway: Gateway, listener: socket.socket) -> None:
        settings = gateway.settings
        super().__init__(
            uvicorn.Config(
                create_app(gateway),
                loop="uvloop",
                http=EdgeProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
            )
        )
        self.config.load()
        if settings.tls is not None:
            self.config.ssl = tls_context(settings.tls)
        self._gateway = gateway
        self._listener = listener
        self._grace_s = settings.drain_grace_s
        self._deadline_s = settings.drain_deadline_s
        self._hurry = asyncio.Event()

    async def run_until_signal(self) -> None:
        """Serve; returns when everything is drained."""
        async with asyncio.TaskGroup() as group:
            loop = asyncio.get_running_loop()
            for signal_number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(signal_number, self._on_signal, group)
            loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
            await self._serve([self._listener])

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Uvicorn's own handlers stay out: signals are ours."""
        yield

    def _on_hangup(self) -> None:
        self._gateway.runtime.spawn(self._gateway.try_reload(), name="reload on SIGHUP")

    def _on_signal(self, group: asyncio.TaskGroup) -> None:
        if self._gateway.draining:
            self._hurry.set()
            return
        self._gateway.draining = True
        group.create_task(self._drain())

    async def _drain(self) -> None:
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


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """A server context, TLS 1.2 and up. Raises ssl.SSLError for files that do not fit together."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.certificate_path, config.key_path)
    return context
