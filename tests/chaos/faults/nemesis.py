"""Does harm to one process or proxy after the other: kill -9, SIGSTOP, jumps of the clock, and faults of the network."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable

from chaos.faults.history import Act
from chaos.faults.plan import BREAKS_OFF, SLOWS, Kind, by_chance, drawn, sound
from chaos.faults.world import EngineWorld, GatewayWorld, World

Harm = Callable[[World, random.Random, float], Awaitable[str]]
"""Harms something for so many seconds, mends it, and returns its name."""


async def _kill_engine(world: World, chance: random.Random, seconds: float) -> str:
    engine: EngineWorld = chance.choice(world.engines)
    await engine.die()
    await asyncio.sleep(seconds)
    await engine.come_back()
    return engine.name


async def _pause_engine(world: World, chance: random.Random, seconds: float) -> str:
    engine: EngineWorld = chance.choice(world.engines)
    engine.child.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    engine.child.signal(signal.SIGCONT)
    return engine.name


async def _kill_gateway(world: World, chance: random.Random, seconds: float) -> str:
    gateway: GatewayWorld = chance.choice(world.gateways)
    await gateway.child.kill()
    await asyncio.sleep(seconds)
    await gateway.child.start()
    return gateway.name


async def _pause_gateway(world: World, chance: random.Random, seconds: float) -> str:
    gateway: GatewayWorld = chance.choice(world.gateways)
    gateway.child.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    gateway.child.signal(signal.SIGCONT)
    return gateway.name


async def _jump(world: World, chance: random.Random, seconds: float) -> str:
    gateway: GatewayWorld = chance.choice(world.gateways)
    gateway.child.signal(signal.SIGUSR2)
    await asyncio.sleep(seconds)
    return gateway.name


async def _break_network(world: World, chance: random.Random, seconds: float) -> str:
    """Half of the answers of one engine meet faults, or all of them one and the same."""
    engine: EngineWorld = chance.choice(world.engines)
    kinds = [kind for kind in Kind if kind in BREAKS_OFF | SLOWS | {Kind.STATUS, Kind.REFUSE}]
    fault = drawn(chance, kinds, parts=12)
    mixed = by_chance(str(chance.random()), 0.5, kinds)
    engine.proxy.plan = mixed if chance.random() < 0.5 else lambda number: fault
    await asyncio.sleep(seconds)
    engine.proxy.plan = sound
    return engine.name


HARMS: dict[str, Harm] = {
    "kill -9 of an engine": _kill_engine,
    "SIGSTOP of an engine": _pause_engine,
    "kill -9 of a gateway": _kill_gateway,
    "SIGSTOP of a gateway": _pause_gateway,
    "a jump of the clock": _jump,
    "faults of the network": _break_network,
}


async def nemesis(
    world: World, *, seed: str, seconds: tuple[float, float], rounds: int = 0, until: float = 0.0
) -> None:
    """Do harm by chance, one after the other, each between so many `seconds`; every kind once in each turn.

    It ends after so many `rounds`, or, without a number, at the time `until`.
    """
    chance, left = random.Random(seed), list[str]()
    done = 0
    while done < rounds if rounds else time.monotonic() < until:
        left = left or chance.sample(list(HARMS), len(HARMS))
        what, began_at = left.pop(), time.monotonic()
        whom = await HARMS[what](world, chance, chance.uniform(*seconds))
        world.acts.append(Act(what=what, whom=whom, began_at=began_at, ended_at=time.monotonic()))
        done += 1
