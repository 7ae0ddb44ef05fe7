"""The harness itself: it repeats exactly, and it sees how first come, first served collapses."""

from __future__ import annotations

import asyncio

import pytest
from virtual import run

from chaos.crowd import capacity_per_s, kinds
from chaos.exchange import Exchange
from chaos.figures import forecast_errors, percentile
from chaos.on_clock import gateway_on_clock
from chaos.overload import SEATS, overloaded
from chaos.promises import of_fairness, of_overload
from chaos.shares import fair

SEED = 3


def test_first_come_first_served_collapses_at_twice_the_load() -> None:
    """The figures of the design's simulation, by a whole gateway: the seats are full, and of no use."""
    bounds = {"fifo": (0.95, 0.45), "fifo-100": (0.95, 0.45)}
    for queue, (used, goodput) in bounds.items():
        cells = [
            run(overloaded(gateway_on_clock, queue, load, seconds=seconds, seed=SEED, seats=32))
            for load, seconds in ((1.0, 25.0), (2.0, 25.0))
        ]
        assert cells[1].used >= used
        assert cells[1].goodput <= goodput
        assert (cells[1].ttft["interactive"] or 0) > 2
        assert cells[1].engine_most == 32
        broken = [one.name for one in of_overload(cells) if not one.kept]
        assert any("goodput" in name for name in broken)
        assert any("TTFT of interactive" in name for name in broken)
        assert not any("status" in name for name in broken)


def test_first_come_first_served_gives_the_tokens_to_the_tenant_of_the_long_calls() -> None:
    parts = run(fair(gateway_on_clock, "fifo", seconds=5))
    assert parts["long"] > 0.85
    assert not of_fairness(parts)[0].kept


def test_a_seed_gives_the_same_figures_again() -> None:
    def cell(seed: int) -> object:
        return run(overloaded(gateway_on_clock, "fifo-100", 3.0, seconds=5, seed=seed, seats=8))

    assert cell(1) == cell(1)
    assert cell(1) != cell(2)


def test_the_load_is_what_it_is_called() -> None:
    cell = run(overloaded(gateway_on_clock, "fifo", 0.5, seconds=300, seed=SEED, seats=32))
    assert cell.used == pytest.approx(0.5, rel=0.1)
    assert cell.goodput == pytest.approx(cell.used)
    assert set(cell.statuses) == {200}
    assert 6 < SEATS / capacity_per_s(SEATS) < 6.5
    assert sum(kind.mix for kind in kinds()) == pytest.approx(1)


HEAD = b"HTTP/1.1 200 OK\r\nx-tidegate-queue: class=default;position=3;predicted_ms=420;waited_ms=400\r\n\r\n"
CONTENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
REFUSED = (
    b'HTTP/1.1 503 Busy\r\nretry-after: 2\r\nretry-after-ms: 1500\r\n\r\n{"error":{"code":"overloaded"}}'
)
LATE = HEAD + b': ping\n\ndata: {"error":{"message":"m","code":"deadline_exceeded"}}\n\n'
ANSWERS = {
    "whole": ([HEAD, CONTENT, b"data: [DONE]\n\n"], 200, True),
    "in bytes": ([bytes([byte]) for byte in HEAD + CONTENT + b"data: [DONE]\n\n"], 200, True),
    "refused": ([REFUSED], 503, False),
    "refused within the stream": ([LATE], 504, False),
    "broken off": ([HEAD, CONTENT], 502, False),
    "nothing": ([], 0, False),
}


@pytest.mark.parametrize(("parts", "status", "begun"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_read_for_what_it_is(parts: list[bytes], status: int, begun: bool) -> None:
    async def main() -> Exchange:
        exchange = Exchange(asyncio.get_running_loop().time, lambda: None)
        for part in parts:
            exchange.feed(part)
        exchange.closed()
        await exchange.ended
        return exchange

    exchange = run(main())
    assert exchange.status == status
    assert exchange.whole == begun
    if status == 503:
        assert exchange.retry_after_s == 1.5
    if begun:
        assert exchange.waits_ms == (420, 400)


def test_percentiles_and_forecasts() -> None:
    assert percentile([], 0.99) == 0
    assert percentile(range(1, 101), 0.5) == 51
    assert percentile([3.0], 0.99) == 3
    assert forecast_errors([]) == []
