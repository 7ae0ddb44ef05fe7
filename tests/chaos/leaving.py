"""O4: clients that leave while their call waits, and while its answer is streamed."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from chaos.configured import configuration
from chaos.crowd import Kind, key_of
from chaos.exchange import Door, Exchange, body
from chaos.processes import Processes, processes

LIMIT_MS = 250.0
WITHIN_S = 5.0


@dataclass
class Leaving:
    """Milliseconds after a client has left: until the engine's connection is closed (`closed_ms`), until the next call in
    line is at the engine (`next_ms`), and for clients that left the line, for how long their call was at the engine
    (`ghost_ms`), which is 0 for a call that never got there."""

    closed_ms: list[float] = field(default_factory=list)
    next_ms: list[float] = field(default_factory=list)
    ghost_ms: list[float] = field(default_factory=list)


async def leaving(queue: str, *, rounds: int, seed: int) -> Leaving:
    """One seat. Of three calls the first is streamed, and the others wait. The second client leaves, then the first one.

    Between the two is a pause of up to 20 ms, sometimes none. The third call then gets the seat.
    """
    chance, found = random.Random(seed), Leaving()
    kind = Kind("default", 3600.0, 1.0, {"one": 1.0})
    async with processes(configuration(1, [kind]), queue=queue) as world:
        for number in range(rounds):
            await _round(world, number, chance, found)
    return found


async def _round(world: Processes, number: int, chance: random.Random, found: Leaving) -> None:
    names = [f"{number}-{role}" for role in ("streamed", "queued", "next")]
    streamed = _send(world, names[0])
    await streamed.begun
    queued = _send(world, names[1])
    await asyncio.sleep(0.02)
    following = _send(world, names[2])
    await asyncio.sleep(0.02)
    queued.leave()
    await asyncio.sleep(chance.choice((0.0, 0.001, 0.005, 0.02)))
    streamed.leave()
    async with asyncio.timeout(WITHIN_S):
        await following.begun
    following.leave()
    assert streamed.left_at is not None
    assert queued.left_at is not None
    entries = await _entries(world, names)
    found.closed_ms.append(1000 * (entries[names[0]]["ended_at"] - streamed.left_at))
    found.next_ms.append(1000 * (entries[names[2]]["received_at"] - streamed.left_at))
    ghost = entries.get(names[1])
    found.ghost_ms.append(1000 * (ghost["ended_at"] - queued.left_at) if ghost else 0.0)


def _send(door: Door, name: str) -> Exchange:
    return door.send(body("tokens=300 itl=100", user=name), key_of("one"))


async def _entries(world: Processes, names: list[str]) -> dict[str, dict[str, object]]:
    """The engine's record of these calls, once all of them have ended there."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            entries = (await world.engine_record())["entries"]
            known = {one["body"]["user"]: one for one in entries if one["body"]["user"] in names}
            if names[2] in known and all(one["ended_at"] for one in known.values()):
                return known
            await asyncio.sleep(0.01)
