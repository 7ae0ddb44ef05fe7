"""Every seam of Tidegate on one page: what a part must offer to be plugged in.

A part satisfies a port by having its methods; nothing needs to be inherited. No part sees a Call: each is given what it
needs of one. Ports whose stage does not exist yet say so; they are signatures, so that parts can be written against them.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Mapping,
    Sequence,
)
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

from tidegate.types import (
    Ask,
    Batch,
    Capabilities,
    Case,
    Decision,
    Entry,
    Intent,
    Key,
    Load,
    Neighbour,
    Parent,
    Piece,
    RailFacts,
    Record,
    Scan,
    Scene,
    Settlement,
    Ticket,
    Verdict,
    Want,
)

T = TypeVar("T")

# ---------------------------------------------------------------------------------------------- time and work


class Clock(Protocol):
    """Monotonic seconds; injected wherever time matters, so that tests never sleep."""

    def __call__(self) -> float: ...


class Wall(Protocol):
    """Seconds since the epoch: for days, expiry and prices. Never for how long something took."""

    def __call__(self) -> float: ...


class Spawn(Protocol):
    """Starts background work that its owner tracks and ends."""

    def __call__(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]: ...


class Internal(Protocol):
    """Makes a call of the gateway's own: a judge, a summary, a shadow.

    `purpose` says what it is for, such as `judge:facts`, and stands in its entry in `spent`. With `of` it is part of that
    call's books, without it has books of its own. `deadline` is in seconds of the clock. It takes seats that no client
    takes. Raises GatewayErrors.
    """

    async def __call__(
        self,
        model: str,
        fields: Mapping[str, msgspec.Raw],
        *,
        purpose: str,
        of: Parent | None,
        deadline: float,
    ) -> Piece: ...


class Embedder(Protocol):
    """Text to unit vectors of `dimensions` numbers. Raises ValueError on an empty list."""

    model: str
    dimensions: int

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]: ...
    def count_tokens(self, text: str) -> int: ...
    async def close(self) -> None: ...


class Host(Protocol):
    """What the runtime lends to every part that it opens."""

    spawn: Spawn
    clock: Clock
    wall: Wall
    embedder: Embedder
    ask: Internal


# ---------------------------------------------------------------------------------------------------- engines


class Engine(Protocol):
    """A place where answers are made. One instance serves many calls at once and outlives reloads of the config.

    `stream` yields at least one batch: a call that is not streamed gets one piece with the whole body. It raises
    GatewayErrors only; every foreign error is translated inside. Returning says that the answer is complete. Closing the
    generator early cancels the work. An `open` that raises leaves nothing behind: `close` is not called after it.
    `capabilities` may be set anew by `open`, and hold from then on. `ready` may raise a GatewayError in the place of False:
    its cause is what the operator is told.
    """

    capabilities: Capabilities

    async def open(self, host: Host) -> None: ...
    async def close(self) -> None: ...
    async def ready(self) -> bool: ...
    def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]: ...
    async def load(self) -> Load: ...
    async def count_tokens(self, ask: Ask) -> int | None: ...


@runtime_checkable
class CountsOddities(Protocol):
    """An engine whose answers may be odd and yet usable. Whoever opens it sets `odd`, which counts one kind of oddity."""

    odd: Callable[[str], None]


# --------------------------------------------------------------- rails: `screen` and `guard` do not exist yet


class Rule(Protocol):
    """A rail of tier 0: microseconds, pure."""

    about: RailFacts

    def check(self, text: str, scene: Scene) -> Verdict: ...


class Check(Protocol):
    """A rail of tier 1 or 2: a small model, a judge, a remote guard. One that raises is a failed verdict."""

    about: RailFacts

    async def check(self, text: str, scene: Scene) -> Verdict: ...


class Scanner(Protocol):
    """One text channel of one stream, fed as it arrives. `last`: no more text comes."""

    def feed(self, text: str, *, last: bool) -> Scan: ...


class Scanning(Protocol):
    """A rail that can look at a stream while holding back no more than a span of characters."""

    def scanner(self) -> Scanner: ...


# ------------------------------------------------------------------------ caches: `recall` does not exist yet


class Cache(Protocol):
    """Answers seen before, by exact key. `drop` forgets all with a tag and returns how many."""

    async def get(self, key: bytes) -> Entry | None: ...
    async def put(self, key: bytes, entry: Entry, *, ttl_s: float) -> None: ...
    async def drop(self, tag: str) -> int: ...


class Neighbours(Protocol):
    """Vectors and the keys that they lead to. A `space` is one embedding model in one version, for one scope."""

    async def near(self, space: bytes, vector: Sequence[float], *, most: int) -> Sequence[Neighbour]: ...
    async def add(
        self, space: bytes, key: bytes, vector: Sequence[float], text: str, *, ttl_s: float
    ) -> None: ...
    async def drop(self, space: bytes, keys: Collection[bytes]) -> None: ...


# ------------------------------------------------ quotas, keys, money: `limit` and `account` do not exist yet


class Limiter(Protocol):
    """Quotas: reserve before the call, settle once after it.

    `reserve` takes all wants or raises RateLimited, and BadRequest for what can never fit. `settle` never waits and never
    raises; settling a ticket again does nothing.
    """

    async def reserve(self, call_id: str, wants: Sequence[Want]) -> Ticket: ...
    def settle(self, ticket: Ticket, used: Sequence[int]) -> None: ...


class KeyStore(Protocol):
    """API keys, by their public part; of secrets a store sees digests only.

    `save` compares and sets by version (`over` None: the key is new) and says whether it did. `changes` yields the ids of
    keys that have changed, and an empty one after a gap: forget everything. `used` takes the times of last use.
    """

    async def find(self, id: str) -> Key | None: ...
    async def save(self, key: Key, *, over: int | None) -> bool: ...
    async def page(self, organisation: str, *, after: str = "", most: int = 100) -> Sequence[Key]: ...
    def changes(self) -> AsyncIterator[str]: ...
    async def used(self, at: Mapping[str, float]) -> None: ...


class Ledger(Protocol):
    """What each call cost, exactly once, also after a crash.

    `open` is one write before any engine is asked; what it raises refuses the call. `note` tells the progress of an answer.
    `close` returns something to await only where a policy wants the settlement on disk before the last byte.
    """

    def open(self, intent: Intent) -> None: ...
    def note(self, call_id: str, delivered_tokens: int) -> None: ...
    def close(self, settlement: Settlement) -> Awaitable[None] | None: ...


class Tokens(Protocol):
    """Token counts. `estimate` runs on the loop in bounded time and may be off; `count` is exact for one vocabulary."""

    def estimate(self, ask: Ask) -> int: ...
    async def count(self, texts: Sequence[str]) -> int: ...


# -------------------------------------------------------------------------------------------- people, telling


class Reviewer(Protocol):
    """A person who decides about a held answer. Raises DeadlineExceeded. Nothing asks one today."""

    async def decide(self, case: Case, *, deadline: float) -> Decision: ...


class Sink(Protocol):
    """Where calls that have ended are told to: metrics today, logs and traces later."""

    def finished(self, record: Record) -> None: ...


# ----------------------------------------------------------------------------------------------------- stores


class Store(Protocol):
    """One database, open. A method returns None for what this database does not keep. Nothing uses one today."""

    async def open(self, host: Host) -> None: ...
    async def close(self) -> None: ...
    async def ready(self) -> bool: ...
    def keys(self) -> KeyStore | None: ...
    def limiter(self) -> Limiter | None: ...
    def cache(self) -> Cache | None: ...
    def neighbours(self) -> Neighbours | None: ...
