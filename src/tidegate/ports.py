"""Every seam of Tidegate on one page: what a part must offer to be plugged in.

A part satisfies a port by having its methods; nothing needs to be inherited. Ports whose stage does not exist yet say so.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol

from tidegate.types import Ask, Batch, Call, Capabilities, Load, Reply, Ticket, Usage, Verdict

Stage = Callable[[Call], Awaitable[Reply | None]]
"""One step of a request's way: None goes on, a Reply answers, a GatewayError refuses."""


class Clock(Protocol):
    """Monotonic seconds; injected wherever time matters, so that tests never sleep."""

    def __call__(self) -> float: ...


class Spawn(Protocol):
    """Starts background work that its owner tracks and ends; nothing else may start a task."""

    def __call__(self, work: Coroutine[Any, Any, None], *, name: str) -> None: ...


class Embedder(Protocol):
    """Text to unit vectors of `dimensions` numbers. Raises ValueError on an empty list."""

    model: str
    dimensions: int

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]: ...
    def count_tokens(self, text: str) -> int: ...
    async def close(self) -> None: ...


class EngineHost(Protocol):
    """What the runtime lends to the engines it opens."""

    spawn: Spawn
    clock: Clock
    embedder: Embedder


class Room(Protocol):
    """Memory for one answer that is not streamed. It goes back when the client has taken the answer or the call ended."""

    async def take(self, size_bytes: int) -> None:
        """Wait until the answer may take so many bytes in all."""
        ...

    def cover(self, size_bytes: int) -> None:
        """Count an answer that is held already, without waiting."""
        ...


class Engine(Protocol):
    """A place where answers are made. One instance serves many calls at once and outlives reloads of the config.

    `stream` yields at least one batch: a call that is not streamed gets one piece with the whole body. It raises
    GatewayErrors only; every foreign error is translated inside. Returning says that the answer is complete. Closing the
    generator early cancels the work. An `open` that raises leaves nothing behind: nobody calls `close` after it.
    `capabilities` may be set anew by `open`, and hold from then on.
    """

    capabilities: Capabilities

    async def open(self, host: EngineHost) -> None: ...
    async def close(self) -> None: ...
    async def ready(self) -> bool: ...
    def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]: ...
    async def load(self) -> Load: ...
    async def count_tokens(self, ask: Ask) -> int | None: ...


class Rail(Protocol):
    """A check on text. `surface`: input, output, retrieval, tool; `tier`: 0 rules, 1 small model, 2 judge or remote.

    Its stages, `screen` and `guard`, are empty places today.
    """

    name: str
    surface: str
    tier: int
    hold: str
    on_fail: str
    on_error: str

    async def check(self, call: Call, text: str) -> Verdict: ...


class Cache(Protocol):
    """Answers seen before. Its stage, `recall`, is an empty place today."""

    async def get(self, key: bytes) -> bytes | None: ...
    async def put(self, key: bytes, value: bytes, *, ttl_s: float) -> None: ...


class Store(Protocol):
    """Durable records by key, scoped to a tenant. Nothing uses it today."""

    async def read(self, tenant: str, key: str) -> bytes | None: ...
    async def write(self, tenant: str, key: str, value: bytes, *, ttl_s: float | None) -> None: ...
    async def delete(self, tenant: str, key: str) -> None: ...


class Limiter(Protocol):
    """Quotas: reserve before the call, settle once after it. Its stage, `limit`, is an empty place today."""

    async def reserve(self, call: Call) -> Ticket: ...
    async def settle(self, ticket: Ticket, usage: Usage) -> None: ...


class KeyStore(Protocol):
    """API keys. Its stage, `authenticate`, is an empty place today."""

    async def find(self, presented: str) -> str | None: ...


class Ledger(Protocol):
    """What each call cost, written exactly once. The stage `account` will write it."""

    async def write(self, call: Call) -> None: ...


class Tokenizer(Protocol):
    """Token counts of a text for one model family."""

    def count(self, text: str) -> int: ...


class Reviewer(Protocol):
    """A person who decides about a held answer. Nothing asks one today."""

    async def hand_over(self, call: Call, verdict: Verdict) -> str: ...


class Sink(Protocol):
    """Where finished calls are told to: metrics today, logs and traces later."""

    def finished(self, call: Call, now: float) -> None: ...
