"""Requests to engines, and what engines report about themselves. Structs, not behaviour."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from tidegate.types.messages import Message

Headers = list[tuple[bytes, bytes]]


class Endpoint(enum.Enum):
    """The endpoints that a call can arrive on. The value is the path below `/v1/`, and below an engine's base URL.

    Those of `OWN_ENDPOINTS` are answered by the gateway's rails. All but `CHECKS` are those of the OpenAI API.
    """

    CHAT = "chat/completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    CHECKS = "checks"
    MODERATIONS = "moderations"

    # Enum's own hash is a Python function, which would cost each call a microsecond. Members are singletons, so the hash of
    # `object` serves.
    __hash__ = object.__hash__


ENGINE_ENDPOINTS = (Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS)
"""The endpoints whose calls engines answer."""
OWN_ENDPOINTS = frozenset({Endpoint.CHECKS, Endpoint.MODERATIONS})
"""The endpoints whose calls the gateway's rails answer."""


class Room(Protocol):
    """The memory of one answer that is not streamed.

    It is released when the client has read the answer or the call has ended.
    """

    async def take(self, size_bytes: int) -> None:
        """Wait until the answer may use `size_bytes` in all."""
        ...

    def cover(self, size_bytes: int) -> None:
        """Count `size_bytes` in all that are already in memory, without waiting."""
        ...


class Ask(msgspec.Struct, frozen=True):
    """One request to one engine. It is the only part of a call that an engine gets. Each engine call has its own.

    `model` is the engine's name for the model. `fields` is the whole request body, with that name, as a mapping from
    top-level name to unparsed JSON. `onward` are further headers for the engine. `deadline` is in seconds of the host's
    clock. `priority` is the rank in the engine's own queue: lower is earlier. `room` counts the memory of an answer that is
    not streamed. It is None for the gateway's own calls, whose answers are small. `is_large` means that parsing the whole
    body would take milliseconds.
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


class Abilities(msgspec.Struct, frozen=True):
    """What a model on an engine can do: call tools, see images, follow a JSON schema, and read prompts up to a length.

    What is not known counts as an ability: the engine is asked, and may refuse. `context_tokens` is the most tokens of a
    prompt and its answer; None if that is not known. `reserves_answer` says whether the engine refuses a prompt whose
    longest possible answer does not fit too; others end the answer where the context ends.
    """

    tools: bool = True
    vision: bool = True
    schemas: bool = True
    context_tokens: int | None = None
    reserves_answer: bool = True

    @property
    def restricts(self) -> bool:
        """Whether there are requests that cannot be served."""
        return self.context_tokens is not None or not (self.tools and self.vision and self.schemas)


ABLE = Abilities()
"""The abilities of an engine of which nothing is known."""


class Capabilities(msgspec.Struct, frozen=True):
    """The abilities of an engine. Routing uses them, so that no call goes to an engine that cannot serve it.

    `fields` has the request fields that the engine accepts, for each endpoint that it serves. A request with any other
    field is refused with the name of that field. `slots` is the number of calls that the engine gets at once, unless its
    settings give a number. None means no limit. `stream_usage` says whether the engine takes `stream_options`, so that
    streams can be asked for their token counts. `can` is what the engine knows of its models' abilities. `spelling`
    says in which fields the engine takes the form that an answer has to have: see `structure.asked.respelled`.
    """

    fields: Mapping[Endpoint, frozenset[str]]
    slots: int | None = None
    stream_usage: bool = False
    can: Abilities = ABLE
    spelling: str = "openai"


class Load(msgspec.Struct, frozen=True):
    """How busy an engine is with the calls of all its clients. None means that the engine does not report the figure.

    `running` is the number of calls that the engine works on. If the engine does not report it, it is the number of this
    gateway's calls there. `waiting` is the number of calls in the engine's own queue, `kv_usage` the share of its key-value
    cache in use, 0 to 1, and `slots` the number of calls that it can run at once.
    """

    running: int = 0
    waiting: int | None = None
    kv_usage: float | None = None
    slots: int | None = None
