"""An engine that repeats the last message, word by word or whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec
from pydantic import Field

from tidegate.config import EngineConfig
from tidegate.engines.openai import read_answer
from tidegate.errors import BadRequest, UpstreamTimeout
from tidegate.ports import Host
from tidegate.types import Ask, Batch, Capabilities, Endpoint, Load, Piece


class ParrotConfig(EngineConfig):
    """The settings under `engines.NAME`, in addition to those that every engine has."""

    pause_ms: int = Field(default=50, ge=0, description="Pause before each word.")


def piece(ask: Ask, said: dict[str, str], *, finish: str | None = None) -> Piece:
    """Make one unit of an answer: its JSON, and the values that the gateway reads from it."""
    name = "delta" if ask.stream else "message"
    body = {
        "id": ask.call_id,
        "object": "chat.completion.chunk" if ask.stream else "chat.completion",
        "created": 0,
        "model": ask.model,
        "choices": [{"index": 0, name: said, "finish_reason": finish}],
    }
    data = msgspec.json.encode(body)
    return Piece(data, read_answer(data))


class ParrotEngine:
    Config = ParrotConfig
    capabilities = Capabilities({Endpoint.CHAT: frozenset({"model", "messages", "stream"})})

    def __init__(self, config: ParrotConfig) -> None:
        self._pause_s = config.pause_ms / 1000

    async def open(self, host: Host) -> None:
        self._clock = host.clock

    async def close(self) -> None: ...

    async def ready(self) -> bool:
        return True

    async def load(self) -> Load:
        return Load()

    async def count_tokens(self, ask: Ask) -> int | None:
        return None

    async def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        text = ask.messages[-1].content
        if not isinstance(text, str):
            raise BadRequest("A parrot repeats only text", param="messages")
        for word in text.split() if ask.stream else ():
            await asyncio.sleep(self._pause_s)
            if self._clock() >= ask.deadline:
                raise UpstreamTimeout("the parrot fell asleep")
            yield [piece(ask, {"content": f"{word} "})]
        rest = {} if ask.stream else {"role": "assistant", "content": text}
        yield [piece(ask, rest, finish="stop")]
