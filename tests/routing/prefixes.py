"""Replicas that keep the system prompts they have read last, and crowds of clients that share a few system prompts.

Everything runs through the stages of the gateway, on the clock of `virtual`. Rules other than the gateway's own take the
place of the stage `route`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

import msgspec
from plain_engine import PlainEngine

from tidegate.call import Call
from tidegate.dispatch.deployments import Deployment, Group, Models
from tidegate.dispatch.queue import Queue
from tidegate.dispatch.seats import Seats
from tidegate.engines.answers import read_answer
from tidegate.http.apis import openai
from tidegate.pipeline import NO_PARTS, Parts, Pipeline, Stage, the_way
from tidegate.policy import DEFAULT, Policies, Policy
from tidegate.quotas.estimate import OutputEstimate
from tidegate.quotas.process import Quotas
from tidegate.stages.authenticate import Authenticate
from tidegate.stages.counting import Counting
from tidegate.stages.limit import Limiting
from tidegate.stages.route import deployments_of
from tidegate.types import Ask, Batch, Endpoint, Exit, Piece

PREFIX_TOKENS, QUESTION_TOKENS, ANSWER_TOKENS = 1000, 50, 50
PREFILL_S, TOKEN_S = 0.0002, 0.01


class Replica(PlainEngine):
    """An engine with a prefix cache: it keeps the `room` system prompts that it has used last."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.known: OrderedDict[str, None] = OrderedDict()
        self.calls = self.cached = self.read = 0

    async def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        cached = self.take(str(ask.messages[0].content))
        await asyncio.sleep((PREFIX_TOKENS + QUESTION_TOKENS - cached) * PREFILL_S + ANSWER_TOKENS * TOKEN_S)
        usage = {
            "prompt_tokens": PREFIX_TOKENS + QUESTION_TOKENS,
            "completion_tokens": ANSWER_TOKENS,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        choice = {"index": 0, "message": {"content": "so"}, "finish_reason": "stop"}
        body = json.dumps({"choices": [choice], "usage": usage}).encode()
        yield [Piece(body, read_answer(body))]

    def take(self, prefix: str) -> int:
        """Read a prompt. Return the tokens of it that were in the cache."""
        cached = PREFIX_TOKENS if prefix in self.known else 0
        self.known[prefix] = None
        self.known.move_to_end(prefix)
        if len(self.known) > self.room:
            self.known.popitem(last=False)
        self.calls, self.cached, self.read = self.calls + 1, self.cached + cached, self.read + PREFIX_TOKENS
        return cached


@dataclass
class Figures:
    """`cached` is the cached tokens divided by the most that are possible, and `balance` the largest load by the mean."""

    cached: float
    balance: float


Rule = Callable[[Sequence[Deployment]], Sequence[Deployment]]


def round_robin() -> Rule:
    turn = 0

    def order(deployments: Sequence[Deployment]) -> Sequence[Deployment]:
        nonlocal turn
        turn += 1
        at = turn % len(deployments)
        return [*deployments[at:], *deployments[:at]]

    return order


def least_busy(deployments: Sequence[Deployment]) -> Sequence[Deployment]:
    return sorted(deployments, key=lambda one: one.seats.in_flight)


async def play(
    rule: Rule | str,
    *,
    replicas: int = 4,
    prompts: int = 20,
    clients: int = 48,
    calls: int = 2000,
    room: int = 8,
) -> Figures:
    """Let clients make calls with random ones of the system prompts. A `rule` that is text is a setting of `affinity`."""
    clock = asyncio.get_running_loop().time
    engines = [Replica(room) for _ in range(replicas)]
    deployments = [Deployment(f"gpu-{at}", engine, Seats(clock=clock)) for at, engine in enumerate(engines)]
    for one in deployments:
        one.seats.ready = True
    models = Models({"m": deployments}, {"m": rule if isinstance(rule, str) else "none"})
    pipeline = Pipeline(_stages(models, clock, rule), clock)
    draw, left = random.Random(7), iter(range(calls))

    async def client() -> None:
        for number in left:
            await _call(pipeline, draw.randrange(prompts), number, clock())

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    best = sum(one.read for one in engines) - prompts * PREFIX_TOKENS
    loads = [one.calls for one in engines]
    return Figures(sum(one.cached for one in engines) / best, max(loads) * replicas / sum(loads))


def _stages(models: Models, clock: Callable[[], float], rule: Rule | str) -> list[Stage]:
    stages = the_way(
        Parts(
            clock,
            clock,
            (),
            Authenticate(Policies({DEFAULT: Policy()})),
            Limiting(Quotas(clock, clock), Counting(models), clock),
            NO_PARTS.recall,
            models,
            Queue(clock),
            OutputEstimate(),
            NO_PARTS.railed,
        )
    )
    if isinstance(rule, str):
        return stages

    def route(call: Call) -> None:
        call.groups = [Group("m", rule(deployments_of(call, models)), "load")]

    return [msgspec.structs.replace(one, work=route) if one.name == "route" else one for one in stages]


async def _call(pipeline: Pipeline, prompt: int, number: int, now: float) -> None:
    system = f"You are assistant {prompt}. " + "Be kind and brief. " * 200
    messages = [{"role": "system", "content": system}, {"role": "user", "content": f"Question {number}?"}]
    body = json.dumps({"model": "m", "messages": messages, "max_tokens": ANSWER_TOKENS}).encode()
    call = Call(
        id=str(number),
        endpoint=Endpoint.CHAT,
        exit=Exit(),
        arrived_at=now,
        received_at=now,
        deadline=now + 600,
        body_bytes=len(body),
    )
    openai.read(body, call)
    async with call.exit:
        await pipeline.greet(call)
        reply = await pipeline.run(call)
        async for _ in reply.pieces:
            pass
