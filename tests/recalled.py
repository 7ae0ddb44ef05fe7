"""A gateway whose clients send idempotency keys, with an engine that counts its calls, on the clock of the test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from in_hand import InHand, until
from limited import ANN, Answered, Limited, limited

from tidegate.types import Ask, Batch

KEY = "11111111-2222-4333-8444-555555555555"


@dataclass
class Asked:
    """One call of the engine. `state` is `running`, `ok`, or the name of the exception that ended it."""

    ask: Ask
    state: str = "running"


class Recalled:
    def __init__(self, world: Limited) -> None:
        self.world = world
        self.gateway = world.gateway
        self.answers = world.gateway.runtime.answers
        self.asked: list[Asked] = []

    def watch(self) -> None:
        """Count the calls of each engine that is open now."""
        for running in self.gateway.runtime.engines():
            engine: Any = running.engine
            engine.stream = self._watched(engine.stream)

    def _watched(self, stream: Any) -> Any:
        async def watched(ask: Ask) -> AsyncGenerator[Batch, None]:
            asked = Asked(ask)
            self.asked.append(asked)
            try:
                async with aclosing(stream(ask)) as batches:
                    async for batch in batches:
                        yield batch
            except BaseException as error:
                asked.state = type(error).__name__
                raise
            asked.state = "ok"

        return watched

    @property
    def states(self) -> list[str]:
        return [one.state for one in self.asked]

    def send(self, body: bytes, key: str | None = KEY, caller: str = ANN, *headers: str) -> InHand:
        client = self.world.in_hand.connect()
        named = () if key is None else (f"idempotency-key: {key}",)
        client.post(body, f"authorization: Bearer {caller}", "connection: close", *named, *headers)
        return client

    async def ask(self, body: bytes, key: str | None = KEY, caller: str = ANN, *headers: str) -> Answered:
        return await answered(self.send(body, key, caller, *headers))


async def answered(client: InHand) -> Answered:
    await until(lambda: client.wire.closed_at is not None, "the end of the answer")
    return Answered(client)


def how(answer: Answered) -> str | None:
    return answer.headers.get("x-tidegate-idempotency")


def without_comments(body: bytes) -> bytes:
    """The events of a stream, byte for byte."""
    return b"\n\n".join(one for one in body.split(b"\n\n") if not one.startswith(b":"))


@asynccontextmanager
async def recalled(limits: dict[str, Any] | None = None, **more: Any) -> AsyncIterator[Recalled]:
    async with limited(limits, **more) as world:
        found = Recalled(world)
        found.watch()
        yield found
