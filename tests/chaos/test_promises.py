"""The promises of the queue under overload, by a whole gateway on the clock of the test; `make chaos` has processes."""

from __future__ import annotations

from virtual import run

from chaos.on_clock import gateway_on_clock
from chaos.overload import burst, overloaded, waits
from chaos.promises import Promise, of_burst, of_fairness, of_flood, of_overload, of_steady, of_waits
from chaos.shares import fair, flooded

SEED = 3
QUEUE = "tidegate"


def broken(promises: list[Promise]) -> list[str]:
    return [str(one) for one in promises if not one.kept]


def test_ten_times_too_much_traffic_costs_those_who_are_served_nothing() -> None:
    """O1. The higher the load, the more calls there are in a second, so the windows are shorter."""
    cells = [
        run(overloaded(gateway_on_clock, QUEUE, load, seconds=seconds, seed=SEED))
        for load, seconds in ((1.0, 150.0), (2.0, 60.0), (10.0, 20.0))
    ]
    assert broken(of_overload(cells) + of_steady(cells[1])) == []
    assert max(cell.engine_most or 0 for cell in cells) == 64


def test_waits_are_predicted() -> None:
    cells = [
        run(waits(gateway_on_clock, QUEUE, 2.0, seconds=100, seed=SEED, default=1.0)),
        run(waits(gateway_on_clock, QUEUE, 10.0, seconds=60, seed=SEED)),
    ]
    assert broken(of_waits(cells)) == []


def test_two_backlogged_tenants_get_half_of_the_tokens_each() -> None:
    """O2."""
    assert broken(of_fairness(run(fair(gateway_on_clock, QUEUE, seconds=30)))) == []


def test_a_flood_of_the_highest_class_leaves_every_class_its_share() -> None:
    """O3."""
    assert broken(of_flood(run(flooded(gateway_on_clock, QUEUE, seconds=120, seed=SEED)))) == []


def test_clients_that_come_back_when_they_are_told_to_are_served() -> None:
    cell = run(burst(gateway_on_clock, QUEUE, times=8, seed=SEED))
    assert broken(of_burst(cell)) == []
    assert cell.second_tries >= 100, "too few were refused to tell"
