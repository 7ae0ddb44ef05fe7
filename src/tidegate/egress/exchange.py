"""The one way out over HTTP: the port. `pool.py` has the client behind it, which keeps connections alive."""

from __future__ import annotations

from typing import Protocol

import msgspec

from tidegate.config import TimeoutsConfig

Headers = list[tuple[bytes, bytes]]
Body = bytes | list[bytes | memoryview]
"""A request's body, whole or in parts. A large one comes in parts, so that no copy of it has to be made."""


class Target(msgspec.Struct, frozen=True):
    """A path of one engine with the headers that never change; made once, used for every request.

    `head` is the request line and these headers, as they are sent.
    """

    method: str
    url: str
    head: bytes
    once: bool = False


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds. `connect` to connect, `first_byte` until headers arrive, `idle` between reads, `total` for the exchange."""

    connect: float
    first_byte: float
    idle: float
    total: float

    @classmethod
    def of(cls, config: TimeoutsConfig) -> Timeouts:
        """The timeouts of a config section, in seconds."""
        return cls(
            config.connect_ms / 1000,
            config.first_byte_ms / 1000,
            config.idle_ms / 1000,
            config.total_ms / 1000,
        )


class Exchange(Protocol):
    """One request that was answered: status and headers are there, the body arrives by `read`."""

    status: int
    headers: Headers

    async def read(self) -> bytes:
        """What has arrived since the last call; empty at the end of the body.

        Raises UpstreamTimeout after a silence, UpstreamError when the connection breaks before the body is whole.
        """
        ...

    async def close(self, *, expect_end: bool = False) -> None:
        """Give the connection back when all of the answer has come, otherwise drop it at once.

        `expect_end` says that nothing but the end can follow (a stream said `[DONE]`): wait for it in the background.
        """
        ...


class Client(Protocol):
    """Connections to one engine."""

    def target(self, method: str, path: str, headers: Headers, *, once: bool = False) -> Target:
        """Prepare a path below the engine's base URL.

        With `once`, the client never sends the request a second time by itself. Otherwise it does so if a kept-alive
        connection closes within a few milliseconds of the request.
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
