"""O2 and O3: two tenants of one class whose calls cost 10:1, and a flood of the class that goes first."""

from __future__ import annotations

import asyncio
import json
import random

from chaos.configured import configuration
from chaos.crowd import Crowd, Kind, key_of, kinds
from chaos.exchange import Door, Exchange
from chaos.figures import Cell, cell_of
from chaos.overload import WARM_S, OpenWorld

COSTS = {"long": (2000, 40), "short": (200, 4)}
"""Words of the prompt and tokens of the answer of each tenant's calls. The few tokens around a prompt do not count here."""
FAIR_ITL_S = 0.02
AT_ONCE = 24
"""The calls that each tenant keeps open: more than there are seats, so that both always wait."""
FAIR_SEATS = 8


async def fair(open_world: OpenWorld, queue: str, *, seconds: float) -> dict[str, float]:
    """The parts of the tokens, 1 for each read and 2 for each written, that two backlogged tenants got."""
    kind = Kind("default", 3600.0, 1.0, dict.fromkeys(COSTS, 1.0))
    # The length comes from `max_tokens`, so that nothing but the words is in the prompt.
    sections = configuration(FAIR_SEATS, [kind], tokens=COSTS["long"][1], itl_ms=FAIR_ITL_S * 1000)
    async with open_world(sections, queue=queue) as door:
        began, spent = door.clock(), dict.fromkeys(COSTS, 0.0)
        begin, end = began + 0.1 * seconds, began + seconds
        async with asyncio.TaskGroup() as group:
            for tenant in COSTS:
                for _ in range(AT_ONCE):
                    group.create_task(_backlogged(door, tenant, spent, (begin, end)))
    return {tenant: amount / sum(spent.values()) for tenant, amount in spent.items()}


async def _backlogged(door: Door, tenant: str, spent: dict[str, float], window: tuple[float, float]) -> None:
    words, tokens = COSTS[tenant]
    messages = [{"role": "user", "content": " ".join(["tide"] * words)}]
    fields = {"model": "m", "stream": True, "max_tokens": tokens, "messages": messages}
    content = json.dumps(fields).encode()
    while door.clock() < window[1]:
        exchange = door.send(content, key_of(tenant))
        await exchange.ended
        if exchange.status in {429, 503}:
            await asyncio.sleep(exchange.retry_after_s or 0)
            continue
        assert exchange.status == 200, exchange.code
        spent[tenant] += (words + 2 * tokens) * _within(exchange, window)


def _within(exchange: Exchange, window: tuple[float, float]) -> float:
    """The part of an answer that was sent between two times."""
    assert exchange.first_at is not None
    assert exchange.ended_at is not None
    begin, end = max(exchange.first_at, window[0]), min(exchange.ended_at, window[1])
    length = exchange.ended_at - exchange.first_at
    if length <= 0:
        return float(window[0] <= exchange.first_at < window[1])
    return max(0.0, end - begin) / length


FLOOD = {"interactive": 10.0, "default": 0.25, "batch": 0.25}
"""The load of each class, as multiples of the capacity. First come, first served would give the others 2 % each."""
FLOOD_SEATS = 32


async def flooded(open_world: OpenWorld, queue: str, *, seconds: float, seed: int) -> Cell:
    """Run a flood of interactive calls over clients of the other classes, which are 5 % of all."""
    mixed = kinds(**FLOOD)
    async with open_world(configuration(FLOOD_SEATS, mixed), queue=queue) as door:
        crowd = Crowd(door, FLOOD_SEATS, mixed, random.Random(seed), most_tries=1)
        begin = door.clock() + WARM_S
        await crowd.arrive([(sum(FLOOD.values()), WARM_S + seconds)])
        return cell_of(crowd, queue=queue, load="flood", window=(begin, door.clock()))
