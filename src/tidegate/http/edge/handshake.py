"""Counts TLS connections from the moment they are accepted, and gives their handshake a time limit.

An event loop that listens for TLS itself creates the protocol only after the handshake. So a client that never finishes
its handshake would escape every limit. Here the connection is accepted first and counted with the others; then the
handshake begins. Plain HTTP does not use this module.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
from typing import cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from tidegate.files import FromFiles
from tidegate.http.edge.limits import Connection, Edge
from tidegate.http.edge.protocol import EdgeProtocol

# Connections accepted in one turn of the event loop, so that other tasks can run in between.
ACCEPT_AT_ONCE = 64
# Pause after an `accept` that failed for lack of files or memory. asyncio's own servers pause as long.
ACCEPT_AGAIN_S = 1.0

# Longer than closing any connection takes. `Farewell` decides by the client's progress; this fixed limit would cut off a
# client that reads slowly.
SHUTDOWN_S = 86_400.0

log = logging.getLogger(__name__)


class Handshake:
    """One accepted connection until its handshake succeeds, and an `EdgeProtocol` takes over, or fails."""

    def __init__(self, listener: TlsListener, accepted: socket.socket) -> None:
        self.made_at = listener.loop.time()
        self._listener = listener
        self._connections = listener.connections
        self._socket = accepted
        self._begun = self._left = False
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start the handshake, or close the socket at once if there are too many connections."""
        if not self._listener.edge.admit(self, self._connections):
            self._connections.discard(self)
            self._socket.close()
            return
        self._task = task = self._listener.loop.create_task(self._shake_hands())
        self._listener.state.tasks.add(task)
        task.add_done_callback(self._ended)

    def done(self) -> None:
        """Stop counting the handshake, because its protocol is now counted in its place."""
        self._connections.discard(self)
        self._task = None

    async def _shake_hands(self) -> None:
        self._begun = True
        listener = self._listener
        try:
            await listener.loop.connect_accepted_socket(
                functools.partial(ServedAfter, listener, self),
                self._socket,
                ssl=listener.tls.current(),
                ssl_handshake_timeout=listener.edge.first_byte_s,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except OSError as error:
            log.debug("a TLS handshake failed: %s", error)  # a client's mistake, or the time limit
        except asyncio.CancelledError:
            if not self._left:
                raise

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._listener.state.tasks.discard(task)
        self._connections.discard(self)
        self._task = None
        if not self._begun:  # otherwise the socket belongs to a transport
            self._socket.close()

    def is_idle(self) -> bool:
        """Return True: a handshake may be closed for another connection at any time."""
        return True

    def has_asked(self) -> bool:
        """Return False: no head can arrive before the handshake is done."""
        return False

    def leave(self) -> None:
        """Cancel the handshake and close the connection."""
        self._left = True
        self._connections.discard(self)
        if self._task is not None:
            self._task.cancel()

    def shutdown(self) -> None:
        """Cancel the handshake, because the server is shutting down."""
        self.leave()

    def cut(self) -> None:
        """Cancel the handshake, because the server has stopped."""
        self.leave()


class ServedAfter(EdgeProtocol):
    """An `EdgeProtocol` that replaces its `Handshake` once that is done."""

    def __init__(self, listener: TlsListener, handshake: Handshake) -> None:
        super().__init__(listener.config, listener.state, {}, listener.loop, edge=listener.edge)
        self._handshake: Handshake | None = handshake

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the connection. The event loop calls this once, when the handshake is done."""
        if self._handshake is not None:
            self._handshake.done()
            self._handshake = None
        super().connection_made(transport)


class TlsListener:
    """A listener that accepts TLS connections on one socket. uvicorn's server uses it like an `asyncio.Server`."""

    def __init__(
        self,
        listening: socket.socket,
        tls: FromFiles[ssl.SSLContext],
        edge: Edge,
        *,
        config: Config,
        state: ServerState,
    ) -> None:
        """Start accepting. An event loop must be running."""
        self.loop = asyncio.get_running_loop()
        self.tls = tls
        self.edge = edge
        self.config = config
        self.state = state
        self.connections = cast("set[Connection]", state.connections)
        self._listening = listening
        self._again: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Stop accepting connections."""
        if self._again is not None:
            self._again.cancel()
        self.loop.remove_reader(self._listening)

    async def wait_closed(self) -> None:
        """Return at once: `close` has already stopped everything."""

    def _resume(self) -> None:
        self._again = None
        self.loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("cannot accept connections, trying again in a second: %s", error.strerror)
                self.loop.remove_reader(self._listening)
                self._again = self.loop.call_later(ACCEPT_AGAIN_S, self._resume)
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Handshake(self, accepted).begin()
