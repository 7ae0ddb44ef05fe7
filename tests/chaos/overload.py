"""O1: three classes of impatient clients at one, two and ten times the capacity."""

from __future__ import annotations

import random
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from chaos.configured import configuration
from chaos.crowd import Crowd, Try, kinds
from chaos.exchange import Door
from chaos.figures import Cell, cell_of, second_tries

SEATS = 64
LOADS = (1.0, 2.0, 10.0)
WARM_S = 15.0
"""The time in which the seats fill. Goodput and percentiles are of the time after it, statuses of all."""


class OpenWorld(Protocol):
    """Starts a gateway with one of the queues."""

    def __call__(self, sections: Any, *, queue: str) -> AbstractAsyncContextManager[Door]: ...


async def overloaded(
    open_world: OpenWorld, queue: str, load: float, *, seconds: float, seed: int, seats: int = SEATS
) -> tuple[Cell, list[Try]]:
    """Run one cell: a crowd at a load, for `seconds` after the warm-up."""
    mixed = kinds()
    async with open_world(configuration(seats, mixed), queue=queue) as door:
        crowd = Crowd(door, seats, mixed, random.Random(seed))
        began = door.clock()
        held = door.memory_bytes()
        await crowd.arrive([(load, WARM_S + seconds)])
        grown = door.memory_bytes() / held - 1 if held else None
        window = began + WARM_S, began + WARM_S + seconds
        cell = cell_of(crowd.tries, mixed, queue=queue, load=f"{load:g}x", seats=seats, window=window)
        cell.memory_growth = grown
        cell.second_try, cell.second_tries = second_tries(crowd.tries)
        return cell, crowd.tries


BURST = [(1.0, 20.0), (2.0, 5.0), (0.5, 25.0)]
"""Loads and seconds: the seats fill, a burst of twice the capacity, and then half of it."""


async def burst(
    open_world: OpenWorld, queue: str, *, times: int, seed: int, seats: int = SEATS
) -> tuple[Cell, list[Try]]:
    """Run bursts, one after the other, with one crowd."""
    mixed = kinds()
    async with open_world(configuration(seats, mixed), queue=queue) as door:
        crowd = Crowd(door, seats, mixed, random.Random(seed))
        began = door.clock()
        await crowd.arrive(BURST * times)
        window = began + WARM_S, door.clock()
        cell = cell_of(crowd.tries, mixed, queue=queue, load="burst", seats=seats, window=window)
        cell.second_try, cell.second_tries = second_tries(crowd.tries)
        return cell, crowd.tries
