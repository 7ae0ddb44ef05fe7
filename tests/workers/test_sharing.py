"""The arithmetic of several workers: shares that add up, and sums that never fall."""

from __future__ import annotations

import pytest
from prometheus_client.core import CounterMetricFamily, Metric

from tidegate.config import EmbeddedConfig, ScriptedConfig, parse_text
from tidegate.errors import ConfigError
from tidegate.telemetry.metrics import gauge
from tidegate.workers.shares import part, refuse_unshareable, share
from tidegate.workers.totals import Totals, families

ENGINES = """
engines:
  script: {kind: scripted, slots: 5, max_in_flight: 7}
  far: {kind: openai, url: "https://example.com/v1", max_connections: 9}
  local: {kind: embedded, slots: 4}
models: {"*": {deployments: [{engine: script}]}}
"""


@pytest.mark.parametrize(("whole", "of"), [(2, 2), (3, 2), (4, 3), (64, 7), (5, 1)])
def test_parts_are_disjoint_even_and_complete(whole: int, of: int) -> None:
    parts = [part(whole, number, of) for number in range(of)]
    assert [n for each in parts for n in each] == list(range(whole))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_limits_are_divided_and_an_embedded_server_keeps_all_its_slots() -> None:
    config = parse_text(ENGINES, source="the test")
    shares = [share(config, number, 3).engines for number in range(3)]
    assert sum(engines["script"].max_in_flight or 0 for engines in shares) == 7
    scripts = [engines["script"] for engines in shares]
    assert sum(script.slots or 0 for script in scripts if isinstance(script, ScriptedConfig)) == 5
    for engines in shares:
        local = engines["local"]
        assert isinstance(local, EmbeddedConfig)
        assert (local.slots, local.max_in_flight) == (4, None)


def test_every_limit_that_is_too_small_is_named() -> None:
    with pytest.raises(ConfigError) as refused:
        refuse_unshareable(parse_text(ENGINES, source="the test"), 6)
    assert [problem.path for problem in refused.value.problems] == [
        "engines.script.slots",
        "engines.local.slots",
    ]


def with_seats(seats: int, reserved: int) -> str:
    return ENGINES.replace("max_in_flight: 7", f"max_in_flight: {seats}, reserved_seats: {reserved}")


@pytest.mark.parametrize(("seats", "reserved"), [(10, 5), (14, 9), (13, 8)])
def test_every_worker_keeps_reserved_seats_and_has_some_for_clients(seats: int, reserved: int) -> None:
    config = parse_text(with_seats(seats, reserved), source="the test")
    refuse_unshareable(config, 4)
    scripts = [share(config, number, 4).engines["script"] for number in range(4)]
    assert sum(script.max_in_flight or 0 for script in scripts) == seats
    assert sum(script.reserved_seats for script in scripts) == reserved
    assert all(0 < script.reserved_seats < (script.max_in_flight or 0) for script in scripts)


@pytest.mark.parametrize("reserved", [3, 5])
def test_reserved_seats_that_not_every_worker_can_have_beside_clients_are_named(reserved: int) -> None:
    with pytest.raises(ConfigError) as refused:
        refuse_unshareable(parse_text(with_seats(8, reserved), source="the test"), 4)
    assert [problem.path for problem in refused.value.problems] == ["engines.script.reserved_seats"]


def scraped(calls: int, *, waiting: int = 0, ready: int = 1) -> list[Metric]:
    counter = CounterMetricFamily("tidegate_calls", "Calls.", labels=["model"])
    counter.add_metric(["m"], calls)
    return [
        counter,
        gauge("waiting", "Waiting.", [], [((), waiting)]),
        gauge("engine_ready", "Ready.", ["engine"], [(["e"], ready)]),
    ]


def lines(page: bytes) -> set[str]:
    return {line for line in page.decode().splitlines() if not line.startswith("#")}


def test_the_utilization_of_the_queues_is_that_of_the_fullest_one() -> None:
    everyone = {
        at: families([gauge("queue_utilization", "Used.", [], [((), used)])])
        for at, used in enumerate((0.5, 0.75, 0.25))
    }
    assert lines(Totals().render([], everyone)) == {"tidegate_queue_utilization 0.75"}


def test_counts_add_up_over_the_living_the_silent_and_the_dead() -> None:
    totals = Totals()
    own = [gauge("workers", "Workers.", [], [((), 2)])]
    everyone = {0: families(scraped(5, waiting=1)), 1: families(scraped(7, waiting=2, ready=0))}
    assert lines(totals.render(own, everyone)) == {
        'tidegate_calls_total{model="m"} 12.0',
        "tidegate_waiting 3.0",
        'tidegate_engine_ready{engine="e"} 0.0',
        "tidegate_workers 2.0",
    }
    # Worker 1 does not answer: its counts stay, its gauges are not known.
    one = lines(totals.render(own, {0: families(scraped(6, waiting=1))}))
    assert {'tidegate_calls_total{model="m"} 13.0', "tidegate_waiting 1.0"} < one
    # Worker 1 has died twice, and its successors count from zero.
    totals.departed(1)
    totals.render(own, {1: families(scraped(2))})
    totals.departed(1)
    again = {0: families(scraped(6)), 1: families(scraped(1))}
    assert 'tidegate_calls_total{model="m"} 16.0' in lines(totals.render(own, again))
