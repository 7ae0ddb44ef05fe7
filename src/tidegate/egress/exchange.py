"""The protocols of outgoing HTTP. `pool.py` has the client that implements them with kept-alive connections."""

from __future__ import annotations

from typing import Protocol

import msgspec

from tidegate.config import TimeoutsConfig

Headers = list[tuple[bytes, bytes]]
Body = bytes | list[bytes | memoryview]
"""A request's body, whole or in parts. A large body is passed in parts, which saves a copy."""


class Target(msgspec.Struct, frozen=True):
    """A path of one engine with its constant headers. It is made once and used for every request.

    `head` is the encoded request line with these headers.
    """

    method: str
    url: str
    head: bytes
    once: bool = False


class Timeouts(msgspec.Struct, frozen=True):
    """The timeouts of an exchange, in seconds.

    `connect` limits the time to connect, `first_byte` the time until the headers arrive, `idle` the time between two reads,
    and `total` the time of the whole exchange.
    """

    connect: float
    first_byte: float
    idle: float
    total: float

    @classmethod
    def of(cls, config: TimeoutsConfig) -> Timeouts:
        """Convert the timeouts of a configuration to seconds."""
        return cls(
            config.connect_ms / 1000,
            config.first_byte_ms / 1000,
            config.idle_ms / 1000,
            config.total_ms / 1000,
        )


class Exchange(Protocol):
    """An answer whose status and headers have arrived. `read` returns its body."""

    status: int
    headers: Headers

    async def read(self) -> bytes:
        """Return the bytes that have arrived since the last call; wait if there are none. Empty at the end of the body.

        Raises UpstreamTimeout after a silence, and UpstreamError if the connection breaks before the body is complete.
        """
        ...

    async def close(self, *, expect_end: bool = False) -> None:
        """Give the connection back if the whole answer was read; otherwise close the connection at once.

        `expect_end` says that only the end of the body is still to arrive, as after the `[DONE]` of a stream. The
        connection then waits for the end in the background.
        """
        ...


class Client(Protocol):
    """Connections to one engine."""

    def target(self, method: str, path: str, headers: Headers, *, once: bool = False) -> Target:
        """Prepare a path below the engine's base URL.

        If a kept-alive connection closes within a few milliseconds after the request, the client sends the request again on
        a new connection. With `once`, the client raises Disconnected instead.
        """
        ...

    async def send(self, target: Target, headers: Headers, body: Body, total_s: float) -> Exchange:
        """Send a request and wait for the status line and headers.

        `total_s` is what the caller's deadline leaves, in seconds. Where all connections are in use it waits for one, and
        raises DeadlineExceeded where that takes too long. Raises UpstreamUnreachable when no connection could be made
        (nothing was sent), UpstreamTimeout, UpstreamError.
        """
        ...

    async def close(self) -> None:
        """Drop every connection."""
        ...
