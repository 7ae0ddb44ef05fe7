"""Calls that the gateway makes for its clients' calls, and reloads, while the queue is full."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from virtual import run

from chaos.configured import configuration
from chaos.crowd import Kind, key_of
from chaos.exchange import Exchange, body
from chaos.on_clock import OnClock, gateway_on_clock, with_engine
from tidegate.call import Call
from tidegate.gateway import Gateway
from tidegate.pipeline import Pipeline
from tidegate.types import ANSWER, Batch

KIND = Kind("default", 3600.0, 1.0, {"ann": 1.0, "bob": 1.0})
FIELDS = {
    "messages": msgspec.Raw(b'[{"role":"user","content":"[[scripted ttft=300 tokens=1]] Is it good?"}]')
}


class Asks:
    """A stage that asks about a call: `before` times while the call waits, `within` times while it has its seat."""

    def __init__(self, gateway: Gateway, *, before: int, within: int) -> None:
        self._gateway = gateway
        self._before = before
        self._within = within
        self.answered = 0

    async def __call__(self, call: Call) -> None:
        if call.purpose == ANSWER:
            await self._ask(call, self._before)

    async def wrap(self, call: Call, pieces: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
        asked = call.purpose != ANSWER
        async for batch in pieces:
            if not asked:
                asked = True
                await self._ask(call, self._within)
            yield batch

    async def _ask(self, call: Call, times: int) -> None:
        for _ in range(times):
            await self._gateway.ask("m", FIELDS, purpose="judge", of=call.as_parent(), deadline=call.deadline)
            self.answered += 1


def put_in(gateway: Gateway, guard: Any) -> None:
    """Have a stage stand in the place `guard`, between `admit` and `attempt`."""
    stages = [
        msgspec.structs.replace(stage, work=guard, idle=False) if stage.name == "guard" else stage
        for stage in gateway.snapshot.pipeline.stages
    ]
    gateway.snapshot.pipeline = Pipeline(stages, gateway.clock)


def send(world: OnClock, number: int) -> Exchange:
    tenant = ("ann", "bob")[number % 2]
    return world.send(body("ttft=200 itl=100 tokens=10"), key_of(tenant))


@pytest.mark.parametrize(("before", "within"), [(2, 0), (1, 1), (0, 2)])
def test_two_calls_of_our_own_for_each_of_32_clients_on_four_seats_are_all_answered(
    before: int, within: int
) -> None:
    async def main() -> None:
        sections = configuration(4, [KIND], reserved_seats=1)
        async with gateway_on_clock(sections) as world:
            guard = Asks(world.gateway, before=before, within=within)
            put_in(world.gateway, guard)
            exchanges = [send(world, number) for number in range(32)]
            async with asyncio.timeout(300):
                for exchange in exchanges:
                    await exchange.ended
            assert [(one.status, one.whole) for one in exchanges] == [(200, True)] * 32
            assert guard.answered == 64
            assert world.engine.asked == 96
            assert world.engine.most <= 4
            await world.quiet()

    run(main())


@pytest.mark.parametrize(("first", "second", "third"), [(8, 4, 6), (4, 12, 3), (6, 6, 6), (2, 1, 9)])
def test_reloads_in_the_middle_of_a_full_queue_lose_no_call_and_grant_no_seat_twice(
    tmp_path: Path, first: int, second: int, third: int
) -> None:
    path = tmp_path / "tidegate.json"
    clients = 100

    async def main() -> None:
        async with gateway_on_clock(configuration(first, [KIND]), path=path) as world:
            limit = [first]
            granted: list[tuple[int, int]] = []
            world.engine.began = lambda running: granted.append((running, limit[0]))
            exchanges = [send(world, number) for number in range(clients)]
            await asyncio.sleep(3)
            for seats, deadline_s in ((second, 500), (third, 400)):
                await _reload(world, path, seats, deadline_s)
                limit[0] = seats
                await asyncio.sleep(5)
            async with asyncio.timeout(300):
                for exchange in exchanges:
                    await exchange.ended
            assert [(one.status, one.whole) for one in exchanges] == [(200, True)] * clients
            assert world.engine.asked == clients
            assert [pair for pair in granted if pair[0] > pair[1]] == []
            assert {second, third} <= {running for running, _ in granted}, "the seats were used"
            await world.quiet()

    run(main())


async def _reload(world: OnClock, path: Path, seats: int, deadline_s: int) -> None:
    """Change the number of seats, and a policy and the models too. The engine stays."""
    sections = configuration(seats, [KIND])
    sections["policies"]["default"]["defaults"]["deadline_s"] = deadline_s
    sections["models"][f"other-{seats}"] = {"deployments": [{"engine": "script"}]}
    path.write_text(json.dumps(with_engine(sections, {"kind": "scripted"})))
    await world.gateway.reload()
