"""The nouns of the request path: what travels from stage to stage.

Structs, not behaviour. A `Call` is one request in flight; an engine answers it in batches of `Piece`s; a `Reply` is what a
stage hands back. Nothing here does I/O.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

if TYPE_CHECKING:
    from tidegate.dispatch.seats import Place, Seats
    from tidegate.ports import Engine, Room


class Endpoint(enum.Enum):
    """The OpenAI endpoints a call can arrive on; the value is its path below `/v1/` and an engine's base URL."""

    CHAT = "chat/completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"

    # Members are singletons; Enum's own hash is a Python function and would cost a call its microsecond.
    __hash__ = object.__hash__


# What comes in thousands a second is kept from the garbage collector, `gc=False`: data that was read refers to nothing that
# refers back to it, and walking it took 4 % of the CPU of 300 streams.
class Message(msgspec.Struct, gc=False):
    """One chat message as the gateway reads it. What it does not read stays in `Call.fields`, untouched."""

    role: str
    content: str | list[dict[str, Any]] | None = None


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one call as the engine reported them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class Delta(msgspec.Struct, gc=False):
    """The part of a choice that carries text: a stream's `delta` or a whole `message`.

    Of a whole answer over 64 KiB, parts that are long stay unparsed: they are a `msgspec.Raw`.
    """

    content: Any = None
    tool_calls: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    function_call: Any = None


class Choice(msgspec.Struct, gc=False):
    """One alternative in an answer or in a streamed event."""

    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None

    def has_content(self) -> bool:
        """Whether a reader sees something new: text, reasoning, a refusal or a tool call."""
        part = self.delta or self.message
        if part is None:
            return bool(self.text)
        return bool(
            part.content
            or part.tool_calls
            or part.reasoning_content
            or part.reasoning
            or part.refusal
            or part.function_call
        )


class TokenCounts(msgspec.Struct, gc=False):
    """An engine's `usage` object. Engines send null, leave fields out, and write whole numbers as `10.0`."""

    prompt_tokens: int | float | None = None
    completion_tokens: int | float | None = None
    prompt_tokens_details: PromptDetails | None = None


class PromptDetails(msgspec.Struct, gc=False):
    """Where the prompt's tokens came from."""

    cached_tokens: int | float | None = None


class Answer(msgspec.Struct, gc=False):
    """What the gateway reads of an engine's JSON, of a whole reply and of one streamed event alike."""

    choices: list[Choice] | None = None
    usage: TokenCounts | None = None
    error: Any = None

    def read_usage(self) -> Usage | None:
        """The token counts, or None where the engine sent none."""
        counts = self.usage
        if counts is None:
            return None
        details = counts.prompt_tokens_details
        return Usage(
            prompt_tokens=_tokens(counts.prompt_tokens),
            completion_tokens=_tokens(counts.completion_tokens),
            cached_tokens=_tokens(details.cached_tokens) if details else 0,
        )


# More than any call has, and so few that sums of them stay numbers: metrics are floats.
_MAX_TOKENS = 2**53


def _tokens(count: float | None) -> int:
    if not count:
        return 0
    return int(count) if 0 < count < _MAX_TOKENS else max(0, min(int(count), _MAX_TOKENS))


class Piece(msgspec.Struct, gc=False):
    """One unit of an answer: a streamed event, or the whole body of a reply that is not streamed.

    `data` is the engine's JSON, byte for byte. `event` holds the server-sent event that carried it, framing included, so
    that a piece nobody changed leaves as it came; a piece made or changed here has none and is framed on the way out.
    """

    data: bytes
    answer: Answer
    event: bytes | None = None


# The pieces that arrived in one read: they travel together and leave in one write.
Batch = list[Piece]


class Capabilities(msgspec.Struct, frozen=True):
    """What an engine can do, so that routing never finds out by failing.

    `fields` says per endpoint which request fields it takes; any other is refused by name, never passed and never dropped.
    An endpoint that is missing is one the engine does not serve. `slots` is how many calls it gets at once where its
    settings do not say; None leaves that to the engine.
    """

    fields: Mapping[Endpoint, frozenset[str]]
    slots: int | None = None


class Load(msgspec.Struct, frozen=True):
    """How busy an engine is, whoever keeps it busy. None means that it does not tell.

    `running` are the calls it works on, or those of this gateway where it does not tell even that; `waiting` the calls in
    its own queue; `kv_usage` the share of its key-value cache in use, 0 to 1; `slots` how many calls it can run at once.
    """

    running: int = 0
    waiting: int | None = None
    kv_usage: float | None = None
    slots: int | None = None


class Deployment(msgspec.Struct, frozen=True):
    """A model on an engine: where a call can go. `model` is the engine's own name for it."""

    engine_name: str
    engine: Engine
    seats: Seats
    model: str | None = None


T = TypeVar("T")

EXIT_S = 10.0
"""The longest that one release may take once its call was cancelled."""


class Exit:
    """What a call has taken, given back last in first out, whatever happened: `async with call.exit`.

    Each release gets the error that ended the call, or None, and may return something to await. A release never awaits a
    network: what has to be sent is queued in the runtime. All releases run even if one fails, and a cancellation does not
    cut the one that is awaited. (contextlib.AsyncExitStack does not promise the latter, and costs several times as much.)
    """

    __slots__ = ("_releases",)

    def __init__(self) -> None:
        self._releases: list[Callable[[BaseException | None], Awaitable[None] | None]] = []

    def push(self, release: Callable[[BaseException | None], Awaitable[None] | None]) -> None:
        """Add a release; it will run before those that were pushed earlier."""
        self._releases.append(release)

    def task(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start a task that belongs to the call: when the call ends, the task is cancelled and awaited."""
        task = asyncio.get_running_loop().create_task(work, name=name)

        async def end() -> None:
            task.cancel()
            await asyncio.wait([task])

        self.push(lambda _: None if task.done() else end())
        return task

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while self._releases:
                waiting = self._releases.pop()(error)
                if waiting is not None:
                    await _uncut(waiting)
        finally:
            if self._releases:  # one of them failed: the others still get their turn
                await self.__aexit__(kind, error, trace)


async def _uncut(waiting: Awaitable[None]) -> None:
    """Await to the end, also when cancelled meanwhile; the cancellation is raised afterwards."""
    task = asyncio.ensure_future(waiting)  # noqa: TID251 - awaited right here
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            done, _ = await asyncio.wait([task], timeout=None if cancelled is None else EXIT_S)
        except asyncio.CancelledError as again:
            cancelled = again
        else:
            if not done:
                task.cancel()
    if cancelled is not None:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        raise cancelled
    task.result()


class Spent(msgspec.Struct):
    """One engine call made on a call's behalf. `purpose` is what it was for: `answer`. Times are those of the `Clock`."""

    purpose: str
    engine: str
    model: str
    sent_at: float
    first_byte_at: float = 0.0
    ended_at: float = 0.0
    usage: Usage | None = None
    outcome: str = "running"


class Ask(msgspec.Struct, frozen=True):
    """What one engine is asked, once. Every round has its own, and an engine sees nothing else of the call.

    `model` is the engine's name for the model; `fields` is the whole request body with that name in it, top-level name to
    unparsed JSON. `onward` are further headers for the engine. `deadline` is in seconds of the host's clock. `priority` is
    the place in an engine's own queue: lower is earlier. `room` is where an answer that is not streamed gets the memory it
    needs; None for internal use, which is small.
    """

    call_id: str
    endpoint: Endpoint
    model: str
    fields: Mapping[str, msgspec.Raw]
    messages: Sequence[Message]
    onward: list[tuple[bytes, bytes]]
    deadline: float
    stream: bool = False
    choices: int = 1
    priority: int = 0
    room: Room | None = None


class Call(msgspec.Struct, kw_only=True):
    """One request in flight, from its head to the last byte of its answer.

    `id` is the gateway's own and unique; `request_id` is the client's where it gave one, and goes back in `x-request-id`.
    `reply_headers` leave with every kind of answer; whoever adds to them does so before the answer begins. `onward` are
    headers that go to the engine. `fields` is the request body, top-level name to unparsed JSON: what is sent on is rebuilt
    from it, so a value nobody changed arrives byte for byte. `priority` is its place in an engine's own queue, lower is
    earlier: no client can set it, and no stage does today. `route` sets the `candidates`, `attempt` the `deployment` that
    it asked last; `spent` has an entry for each engine call, and `when_asked` is called as each begins. `room` goes into
    every `Ask`. What a stage takes it pushes on `exit`, which gives it back whatever happens. Times are seconds of the
    gateway's monotonic `Clock`; 0 means not yet.
    """

    id: str
    endpoint: Endpoint
    exit: Exit
    received_at: float
    deadline: float
    request_id: str = ""
    model: str = ""
    fields: dict[str, msgspec.Raw] = {}
    onward: list[tuple[bytes, bytes]] = []
    reply_headers: list[tuple[bytes, bytes]] = []
    messages: list[Message] = []
    priority: int = 0
    stream: bool = False
    choices: int = 1
    route: str = ""
    place: Place | None = None
    candidates: Sequence[Deployment] = ()
    deployment: Deployment | None = None
    spent: list[Spent] = []
    when_asked: Callable[[], None] | None = None
    room: Room | None = None
    waited_s: float = 0.0
    answering_at: float = 0.0
    answered_at: float = 0.0
    first_content_at: float = 0.0
    last_content_at: float = 0.0
    content_events: int = 0
    stage_s: list[float] = []
    outcome: str = "ok"


class Reply(msgspec.Struct):
    """An answer on its way out: batches of pieces, to be streamed or joined as the call asked.

    The iterator ends when the answer is complete and raises when it is not; there is no third way.
    """

    pieces: AsyncIterator[Batch]
    headers: list[tuple[bytes, bytes]] = []


class Verdict(msgspec.Struct, frozen=True):
    """What a rail found: data, never rendering. `failed` means that the rail itself broke; `on_error` decides then."""

    action: str
    category: str = ""
    score: float = 0.0
    spans: tuple[tuple[int, int], ...] = ()
    reason: str = ""
    failed: bool = False


class Ticket(msgspec.Struct, frozen=True):
    """Quota reserved for a call, to be settled once with what it really used."""

    id: str
    requests: int
    tokens: int
