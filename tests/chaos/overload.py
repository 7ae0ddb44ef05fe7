"""O1: three classes of impatient clients at one, two and ten times the capacity."""

from __future__ import annotations

import random
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from chaos.configured import configuration
from chaos.crowd import PATIENCE_S, Crowd, Kind, kinds
from chaos.exchange import Door
from chaos.figures import Cell, cell_of
from tidegate.config import QueueConfig

SEATS = 64
LOADS = (1.0, 2.0, 10.0)
WARM_S = 15.0
"""The time in which the seats fill. Goodput and percentiles are of the time after it, statuses of all."""


class OpenWorld(Protocol):
    """Starts a gateway with one of the queues."""

    def __call__(self, sections: Any, *, queue: str) -> AbstractAsyncContextManager[Door]: ...


async def overloaded(
    open_world: OpenWorld, queue: str, load: float, *, seconds: float, seed: int, seats: int = SEATS
) -> Cell:
    """Run one cell: a crowd at a load, for `seconds` after the warm-up."""
    return await _met(open_world, queue, [(load, WARM_S + seconds)], f"{load:g}x", seed=seed, seats=seats)


BURST = [(1.0, 20.0), (2.0, 5.0), (0.5, 25.0)]
"""Loads and seconds: the seats fill, a burst of twice the capacity, and then half of it."""


async def burst(open_world: OpenWorld, queue: str, *, times: int, seed: int, seats: int = SEATS) -> Cell:
    """Run bursts, one after the other, with one crowd."""
    return await _met(open_world, queue, BURST * times, "burst", seed=seed, seats=seats)


OWN_S = {name: one.longest_wait_s for name, one in QueueConfig().classes.items()}
"""The longest waits of a configuration that names none."""
PATIENT_S = (3600.0, 3600.0)


async def waits(
    open_world: OpenWorld, queue: str, load: float, *, seconds: float, seed: int, **mix: float
) -> Cell:
    """Run one cell with the longest waits of the gateway's defaults, and clients that wait as long as they are let."""
    phases, name = [(load, WARM_S + seconds)], f"{load:g}x"
    return await _met(
        open_world,
        queue,
        phases,
        name,
        seed=seed,
        seats=SEATS,
        mixed=kinds(OWN_S, **mix),
        patience_s=PATIENT_S,
    )


async def _met(
    open_world: OpenWorld,
    queue: str,
    phases: list[tuple[float, float]],
    load: str,
    *,
    seed: int,
    seats: int,
    mixed: tuple[Kind, ...] = kinds(),
    patience_s: tuple[float, float] = PATIENCE_S,
) -> Cell:
    async with open_world(configuration(seats, mixed), queue=queue) as door:
        crowd = Crowd(door, seats, mixed, random.Random(seed), patience_s=patience_s)
        begin = door.clock() + WARM_S
        await crowd.arrive(phases)
        cell = cell_of(crowd, queue=queue, load=load, window=(begin, door.clock()))
        cell.memory_mib = door.memory_mib()
        cell.engine_most = await door.engine_most()
        return cell
