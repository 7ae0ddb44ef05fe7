"""What an engine is asked, and what it says that it can do. Structs, not behaviour."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from tidegate.types.messages import Message

Headers = list[tuple[bytes, bytes]]


class Endpoint(enum.Enum):
    """The OpenAI endpoints a call can arrive on; the value is its path below `/v1/` and an engine's base URL."""

    CHAT = "chat/completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"

    # Members are singletons; Enum's own hash is a Python function and would cost a call its microsecond.
    __hash__ = object.__hash__


class Room(Protocol):
    """Memory for one answer that is not streamed. It goes back when the client has taken the answer or the call ended."""

    async def take(self, size_bytes: int) -> None:
        """Wait until the answer may take so many bytes in all."""
        ...

    def cover(self, size_bytes: int) -> None:
        """Count an answer that is held already, without waiting."""
        ...


class Ask(msgspec.Struct, frozen=True):
    """One request to one engine. Every round makes a new one. It is all that an engine sees of a call.

    `model` is the engine's name for the model; `fields` is the whole request body with that name in it, top-level name to
    unparsed JSON. `onward` are further headers for the engine. `deadline` is in seconds of the host's clock. `priority` is
    the place in an engine's own queue: lower is earlier. `room` is where an answer that is not streamed gets the memory it
    needs; None for the gateway's own calls, whose answers are small. `is_large` says that it takes milliseconds to read
    all of it in one go.
    """

    call_id: str
    endpoint: Endpoint
    model: str
    fields: Mapping[str, msgspec.Raw]
    messages: Sequence[Message]
    onward: Headers
    deadline: float
    stream: bool = False
    choices: int = 1
    priority: int = 0
    room: Room | None = None
    is_large: bool = False


class Capabilities(msgspec.Struct, frozen=True):
    """What an engine can do, so that routing never finds out by failing.

    `fields` says per endpoint which request fields it takes; any other is refused by name, never passed and never dropped.
    An endpoint that is missing is one the engine does not serve. `slots` is how many calls it gets at once where its
    settings do not say; None leaves that to the engine.
    """

    fields: Mapping[Endpoint, frozenset[str]]
    slots: int | None = None


class Load(msgspec.Struct, frozen=True):
    """How busy an engine is with the calls of all its clients. None means that the engine does not report the figure.

    `running` are the calls it works on, or those of this gateway where it does not tell even that; `waiting` the calls in
    its own queue; `kv_usage` the share of its key-value cache in use, 0 to 1; `slots` how many calls it can run at once.
    """

    running: int = 0
    waiting: int | None = None
    kv_usage: float | None = None
    slots: int | None = None
