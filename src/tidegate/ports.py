"""All ports of Tidegate in one file: the methods that a part must have to be plugged in.

A part satisfies a port by having its methods; it does not have to inherit from the port. No part sees a Call: each part
gets only what it needs of one. Some ports belong to stages that are not built yet, and say so. Their signatures stand
here so that parts can be written against them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

from tidegate.types import (
    Ask,
    Batch,
    Capabilities,
    Case,
    Change,
    Consumption,
    Entry,
    Intent,
    Key,
    Limit,
    Load,
    Neighbour,
    Outcome,
    Parent,
    PeriodCount,
    Piece,
    RailFacts,
    Record,
    Scan,
    Scene,
    Settlement,
    Signs,
    Tenant,
    Ticket,
    Verdict,
    View,
)

T = TypeVar("T")

# ---------------------------------------------------------------------------------------------- time and work


class Clock(Protocol):
    """Monotonic seconds. The clock is injected wherever time matters, so that tests never sleep."""

    def __call__(self) -> float: ...


class Wall(Protocol):
    """Seconds since the epoch, for days, expiry and prices. Durations are measured with `Clock`."""

    def __call__(self) -> float: ...


class Spawn(Protocol):
    """Starts a background task. The owner of the function keeps track of the task and cancels it at the end."""

    def __call__(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]: ...


class Internal(Protocol):
    """Makes an internal call, that is, one of the gateway's own: for a judge, a summary or a shadow.

    `purpose` says what the call is for, such as `judge:facts`, and is recorded in its entry in `spent`. With `of` the call
    is recorded as part of that parent call; without `of` it has a record of its own. `deadline` is in seconds of the clock.
    Internal calls may use the reserved seats of an engine, which clients' calls never get. Raises GatewayErrors.
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
    """Turns texts into unit vectors of `dimensions` numbers. Raises ValueError on an empty list."""

    model: str
    dimensions: int

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]: ...
    def count_tokens(self, text: str) -> int: ...
    async def close(self) -> None: ...


class Detects(Protocol):
    """Tells the probability of each head, such as `injection`. `models.detecting.Detector` says what each method does."""

    async def load(self) -> None: ...
    async def read(
        self, views: TextViews, until: float, *, fresh_s: float = 0.0, apart: str = ""
    ) -> Mapping[str, float]: ...
    def thresholds(self) -> Mapping[str, Mapping[str, tuple[float, float]]]: ...
    async def close(self) -> None: ...


class Host(Protocol):
    """The services that the runtime gives to every part it opens."""

    spawn: Spawn
    clock: Clock
    wall: Wall
    embedder: Embedder
    detector: Detects
    ask: Internal


# ---------------------------------------------------------------------------------------------------- engines


class Engine(Protocol):
    """Produces answers. One instance serves many calls at once and outlives reloads of the configuration.

    `stream` yields at least one batch: a call that is not streamed gets one piece with the whole body. `stream` raises only
    GatewayErrors; the engine translates every other error. The end of the generator means that the answer is complete.
    Closing the generator early cancels the work. When `open` raises, it has to clean up itself, since `close` is not called
    then. `open` may replace `capabilities`; the new value is used from then on.
    `ready` returns False or raises a GatewayError when calls would fail. The error's message tells operators the reason.
    `upstream.status` 401 in the error says that the engine was reached and refused the gateway's credentials.
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


# ------------------------------------------------------------------------------------------------------ rails


class TextViews(Protocol):
    """A text, and the ways in which it can be read. Each view is made on first use, once for all rails.

    `folded` keeps characters: it is the text without invisible characters, and with compatible and confusable characters
    replaced by plain ones. `decoded` are the texts hidden in it by an encoding, such as base64, or by invisible
    characters. `guessed` are readings that nothing in the text announces, such as rot13 and reversed letters: they can be
    made of every text, and a rail that asks for them searches them all. `skeleton` has its letters only.
    """

    original: str

    @property
    def folded(self) -> View: ...
    @property
    def decoded(self) -> Sequence[View]: ...
    @property
    def guessed(self) -> Sequence[View]: ...
    @property
    def skeleton(self) -> View: ...


class Rule(Protocol):
    """A rail of tier 0: a pure function that takes microseconds. An exception counts as an error of the rail."""

    about: RailFacts

    def check(self, views: TextViews, scene: Scene) -> Verdict: ...


@runtime_checkable
class Signed(Protocol):
    """A rule that passes every plain text without one of its signs. Then several rules can look for them at once."""

    @property
    def signs(self) -> Signs: ...


class Check(Protocol):
    """A rail of tier 1 or 2: a small model, a judge or a remote guard. An exception counts as an error of the rail."""

    about: RailFacts

    async def check(self, views: TextViews, scene: Scene) -> Verdict: ...


class Services(Host, Protocol):
    """The services that rails get which ask models. `ask` makes calls under the same configuration as the rail.

    `engines_of` returns the capabilities of the engines that serve a model. Raises ValueError if it is not configured.
    """

    def engines_of(self, model: str) -> Sequence[Capabilities]: ...


@runtime_checkable
class Opened(Protocol):
    """A rail that is opened before its first check. `open` raises ValueError if it cannot work as it is configured."""

    async def open(self, services: Services) -> None: ...
    async def close(self) -> None: ...


class Scanner(Protocol):
    """Scans one text of one stream as it arrives. `last` says that no more text follows."""

    def feed(self, text: str, *, last: bool = False) -> Scan: ...


@runtime_checkable
class Scanning(Protocol):
    """A rail with `hold: span`: it checks a stream while it holds back at most a fixed number of characters."""

    def scanner(self) -> Scanner: ...


class PartReader(Protocol):
    """Reads one long text, part by part and in order. `verdict` is on all of it, and asked for once."""

    def feed(self, part: str) -> None: ...
    def verdict(self) -> Verdict: ...


@runtime_checkable
class InParts(Protocol):
    """A rule that has to see a long text from its beginning to its end. Others get slices of it, each as a text."""

    def reader(self, scene: Scene) -> PartReader: ...


# ------------------------------------------------------------------------ caches: `recall` does not exist yet


class Cache(Protocol):
    """Stored answers by exact key. `drop` deletes all entries with a tag and returns how many there were."""

    async def get(self, key: bytes) -> Entry | None: ...
    async def put(self, key: bytes, entry: Entry, *, ttl_s: float) -> None: ...
    async def drop(self, tag: str) -> int: ...


class Neighbours(Protocol):
    """Vectors with their keys, searched by nearness. A `space` is one version of one embedding model, for one scope."""

    async def near(self, space: bytes, vector: Sequence[float], *, most: int) -> Sequence[Neighbour]: ...
    async def add(
        self, space: bytes, key: bytes, vector: Sequence[float], text: str, *, ttl_s: float
    ) -> None: ...
    async def drop(self, space: bytes, keys: Collection[bytes]) -> None: ...


# ------------------------------------------------------ quotas, keys, money: `account` does not exist yet


class Limiter(Protocol):
    """Quotas: reserved before the call, settled once after it.

    `reserve` reserves an amount of each limit, all of them or none. It raises RateLimited when they do not fit now, with
    the exact seconds until they fit if nothing else is reserved, and BadRequest when they can never fit. `until` is in
    seconds of the clock: a reservation that has not ended by then expires, that is, it is abandoned. A limiter that has to
    ask another process returns an awaitable. One that knows the answer returns the ticket, since a coroutine for each call
    would cost time for nothing.

    A reservation ends once: with `settle`, with `abandon` or by expiry, whichever comes first. Ending it again has no
    effect. `settle` takes what was really used, one figure for each limit: it gives back the rest, and charges what exceeds
    the reservation. `abandon` is for a call of which nobody knows what it used: what was reserved stays charged, and only
    concurrent calls are given back. Neither waits, and neither raises.
    `adopt` has changed limits hold from now on for all calls that meet them. `reserve` does that by itself.
    `resets_s` returns the seconds until a limit has its full amount again, as far as this process knows. It is asked only
    for the limits that a reply shows. `consumption` returns the present consumption of at most `most` limits, of one level
    if one is given, and otherwise of the levels with the fewest limits first.
    """

    def reserve(
        self, call_id: str, limits: tuple[Limit, ...], amounts: Sequence[int], *, until: float
    ) -> Ticket | Awaitable[Ticket]: ...
    def settle(self, ticket: Ticket, used: Sequence[int]) -> None: ...
    def abandon(self, ticket: Ticket) -> None: ...
    def adopt(self, limits: tuple[Limit, ...]) -> None: ...
    def resets_s(self, limit: Limit) -> float: ...
    def consumption(self, level: str = "", *, most: int = 1000) -> Sequence[Consumption]: ...


class KeyStore(Protocol):
    """API keys by their public part, the tenants above them, and the admin log. A store sees only digests of secrets.

    Every method raises Overloaded when the store cannot be reached. `save` is a compare-and-set by version and returns
    whether it saved; `over` is the version to replace, and None for a new key. `page` returns keys in the order of their
    ids, and `tenants` tenants in the order of their names; an empty organisation means all of them. `save` and
    `set_tenant` write a line of the admin log in the same transaction; `by` is who made the change. No method changes a
    line of the log. `used` records the times of last use.

    `changes` yields the ids of keys that have changed, whoever changed them. It yields an empty id once it listens, after
    a gap, and when a tenant has changed: then each cached key has to be looked up again. It raises Overloaded at its end.
    `keep_mark` keeps the first of some marks, each of which tells a pepper from another one, and returns True. If a mark
    is kept already that is not among them, it stays, and the answer is False.
    """

    async def find(self, id: str) -> Key | None: ...
    async def save(self, key: Key, *, over: int | None, by: str) -> bool: ...
    async def page(self, organisation: str, *, after: str = "", most: int = 100) -> Sequence[Key]: ...
    def changes(self) -> AsyncGenerator[str, None]: ...
    async def used(self, at: Mapping[str, float]) -> None: ...
    async def tenants(
        self, organisation: str, *, after: Tenant | None = None, most: int = 100
    ) -> Sequence[Tenant]: ...
    async def set_tenant(self, tenant: Tenant, *, by: str) -> None: ...
    async def log(self, *, after: int = 0, most: int = 100) -> Sequence[Change]: ...
    async def keep_mark(self, marks: Sequence[bytes]) -> bool: ...


class CountStore(Protocol):
    """What was used of limits per day and month, for a gateway that starts again. A store has one count of each bucket.

    `read` returns the counts whose periods end after a time, in seconds since the epoch. `write` replaces the counts of
    the same buckets, and deletes those whose periods have ended at `ended` or before, all in one transaction. Both raise
    Overloaded when the store cannot be reached.
    """

    async def read(self, *, after: float) -> Sequence[PeriodCount]: ...
    async def write(self, counts: Sequence[PeriodCount], *, ended: float) -> None: ...


class Identifies(Protocol):
    """Tells the key that a client has sent.

    `recall` answers at once where that is possible. None says no more than: ask `identify`, which may have to ask a store,
    and which raises the GatewayError for a key that is not valid. `peer` is the client's address.
    """

    def recall(self, text: str) -> Key | None: ...
    async def identify(self, text: str, *, peer: str = "") -> Key: ...


class Ledger(Protocol):
    """Records what each call cost, exactly once, even across a crash.

    `open` does one write before any engine is asked; an exception refuses the call. `note` records the progress of an
    answer. `close` returns an awaitable only if the policy wants the settlement on disk before the last byte leaves.
    """

    def open(self, intent: Intent) -> None: ...
    def note(self, call_id: str, delivered_tokens: int) -> None: ...
    def close(self, settlement: Settlement) -> Awaitable[None] | None: ...


# ------------------------------------------------------------------------------------------ people, reporting


class Reviewer(Protocol):
    """People who decide about the texts of a call that are held back.

    A client waits at most `wait_s`. It gets the `notice` if its case stays open: `{case}` stands for the id of the case.
    `decide` returns whether the texts leave, with the decisions by the ids of their cases, at a time of the clock at the
    latest. Raises Overloaded if the cases cannot be stored.
    """

    @property
    def wait_s(self) -> float: ...
    @property
    def notice(self) -> str: ...
    async def decide(self, cases: Sequence[Case], *, until: float) -> Outcome: ...


class Sink(Protocol):
    """Receives a record of every call that has ended: metrics today, logs and traces later."""

    def finished(self, record: Record) -> None: ...


# ----------------------------------------------------------------------------------------------------- stores


class Store(Protocol):
    """One open database. A method returns None for what this database does not store.

    `open` raises ConfigError if the database cannot be used as it is, and cleans up after itself then. `ready` returns
    whether the database can be read and written now. `close` writes what is under way before it returns.
    """

    async def open(self, host: Host) -> None: ...
    async def close(self) -> None: ...
    async def ready(self) -> bool: ...
    def keys(self) -> KeyStore | None: ...
    def counts(self) -> CountStore | None: ...
    def limiter(self) -> Limiter | None: ...
    def cache(self) -> Cache | None: ...
    def neighbours(self) -> Neighbours | None: ...
