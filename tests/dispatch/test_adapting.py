"""The limit of an engine follows what the engine serves: by a whole gateway on the clock of the test."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from slotted import MOST, Slotted, busy, reload
from virtual import run

from tidegate.dispatch import seats
from tidegate.dispatch.seats import Seats
from tidegate.errors import Again, UpstreamError, UpstreamUnreachable
from tidegate.kernel.adaptive import AdaptiveLimit, Asked
from tidegate.types import Ask

WARM_S, FALL_S, RISE_S = 60.0, 90.0, 90.0


def reporting(engine: Slotted) -> None:
    engine.reports = True


def refusing(engine: Slotted) -> None:
    engine.refuses = True


# ------------------------------------------------------------------------------------------------------------ following


@pytest.mark.parametrize("streams", [1.0, 0.5])
@pytest.mark.parametrize("reports", [False, True])
def test_the_limit_follows_an_engine_from_32_slots_to_8_and_back(streams: float, reports: bool) -> None:
    async def main() -> None:
        async with busy(streams=streams, prepare=reporting if reports else lambda engine: None) as scene:
            await asyncio.sleep(WARM_S)
            assert scene.seats.limit == MOST
            scene.engine.set_slots(8)
            fell_at = scene.now
            await asyncio.sleep(FALL_S)
            scene.engine.set_slots(MOST)
            rose_at = scene.now
            assert scene.settled_s(8, fell_at) <= 30
            assert scene.share_near(8, fell_at + 30) >= 0.9
            await asyncio.sleep(RISE_S)
            assert scene.settled_s(MOST, rose_at) <= 60
            assert scene.errors(0) == 0

    run(main())


@pytest.mark.parametrize("reserved", [1, 4])
def test_the_limit_follows_although_clients_cannot_use_the_reserved_seats(reserved: int) -> None:
    async def main() -> None:
        async with busy(reserved_seats=reserved) as scene:
            await asyncio.sleep(WARM_S)
            scene.engine.set_slots(8)
            fell_at = scene.now
            await asyncio.sleep(FALL_S)
            scene.engine.set_slots(MOST)
            rose_at = scene.now
            await asyncio.sleep(RISE_S)
            assert scene.settled_s(8 + reserved, fell_at) <= 30
            assert scene.settled_s(MOST, rose_at) <= 60

    run(main())


def test_longer_prompts_are_no_reason_to_lower_the_limit() -> None:
    async def main() -> None:
        async with busy() as scene:
            await asyncio.sleep(WARM_S)
            before, at = scene.seats.limit, scene.now
            assert before == MOST
            scene.tokens = 2000
            await asyncio.sleep(60)
            assert min(limit for when, limit in scene.limits if when >= at) >= 0.8 * before

    run(main())


def test_an_engine_that_refuses_gets_fewer_calls_until_it_refuses_none() -> None:
    async def main() -> None:
        async with busy(prepare=refusing) as scene:
            scene.engine.set_slots(8)
            await asyncio.sleep(30)
            first = scene.errors(0)
            settled_at = scene.now
            await asyncio.sleep(120)
            assert first > 0.2
            assert scene.share_near(8, settled_at) >= 0.9
            assert scene.errors(settled_at) < 0.05
            assert scene.seats.changes["refused"] >= 1

    run(main())


def test_calls_of_another_client_that_wait_in_the_engine_lower_the_limit() -> None:
    """The calls are not streamed, so only the engine's report can tell."""

    async def main() -> None:
        async with busy(others=16, streams=0, prepare=reporting) as scene:
            await asyncio.sleep(WARM_S)
            scene.engine.set_slots(16)
            await asyncio.sleep(10)
            assert "engine_queue" in scene.seats.changes
            assert scene.seats.limit is not None
            assert scene.seats.limit <= 16

    run(main())


def test_calls_that_are_not_streamed_tell_nothing_and_move_nothing() -> None:
    async def main() -> None:
        async with busy(streams=0) as scene:
            scene.engine.set_slots(8)
            await asyncio.sleep(60)
            assert scene.seats.limit == MOST
            assert scene.seats.changes == {}
            assert scene.errors(0) == 0

    run(main())


@pytest.mark.parametrize("prepare", [reporting, refusing])
def test_a_limit_that_does_not_adapt_stays(prepare: Any) -> None:
    async def main() -> None:
        async with busy(adapts=False, prepare=prepare) as scene:
            scene.engine.set_slots(8)
            await asyncio.sleep(60)
            assert {limit for _, limit in scene.limits} == {MOST}
            assert scene.seats.changes == {}

    run(main())


def test_a_limit_that_the_engine_reports_is_not_adapted() -> None:
    async def main() -> None:
        async with busy(max_in_flight=None, slots=MOST) as scene:
            scene.engine.set_slots(8)
            await asyncio.sleep(60)
            assert {limit for _, limit in scene.limits} == {MOST}

    run(main())


# ------------------------------------------------------------------------------------------------------- reloads, metrics


@pytest.mark.parametrize(
    ("most", "limit"), [(MOST, None), (64, None), (24, None), (4, 4)], ids=["same", "higher", "lower", "low"]
)
def test_a_reload_keeps_an_adapted_limit_within_the_new_bounds(
    tmp_path: Path, most: int, limit: int | None
) -> None:
    """`limit` None: as it was before the reload."""
    path = tmp_path / "tidegate.json"

    async def main() -> None:
        async with busy(path=path) as scene:
            scene.engine.set_slots(8)
            await asyncio.sleep(WARM_S)
            before, changes = scene.seats.limit, dict(scene.seats.changes)
            assert before is not None
            assert before <= 10
            await reload(scene, path, max_in_flight=most)
            assert (scene.seats.limit, scene.seats.most) == (limit or before, most)
            assert scene.seats.changes == (changes | {"settings": 1} if limit else changes)

    run(main())


@pytest.mark.parametrize("most", [64, 16])
def test_a_reload_applies_another_limit_at_once_where_the_engine_keeps_up(tmp_path: Path, most: int) -> None:
    path = tmp_path / "tidegate.json"

    async def main() -> None:
        async with busy(path=path) as scene:
            scene.engine.set_slots(64)
            await asyncio.sleep(10)
            await reload(scene, path)
            assert scene.seats.changes == {}
            await reload(scene, path, max_in_flight=most)
            assert (scene.seats.limit, scene.seats.changes) == (most, {"settings": 1})

    run(main())


def test_the_metrics_tell_the_limit_and_why_it_changed() -> None:
    async def main() -> None:
        async with busy() as scene:
            await asyncio.sleep(WARM_S)
            assert scene.metrics() == ['{engine="script"} 32.0']
            scene.engine.set_slots(8)
            await asyncio.sleep(30)
            late = scene.seats.changes["queue_delay"]
            assert f'{{engine="script"}} {scene.seats.limit}.0' in scene.metrics()
            assert f'_changes_total{{engine="script",why="queue_delay"}} {late}.0' in scene.metrics()

    run(main())


@pytest.mark.parametrize(
    ("limits", "changes"),
    [
        ([None, None], {}),
        ([8, 8, 8], {}),
        ([None, 8, 8], {}),
        ([8, None, 8], {}),
        ([8, 4, 4, 8], {"settings": 2}),
        ([None, 8, 4], {"settings": 1}),
    ],
)
@pytest.mark.parametrize("adapts", [False, True])
def test_a_setting_counts_as_a_change_if_another_limit_takes_the_place_of_one(
    limits: list[int | None], changes: dict[str, int], adapts: bool
) -> None:
    one = Seats()
    for limit in limits:
        one.set_limit(limit, adapts=adapts)
        assert one.limit == limit
    assert one.changes == changes


# ----------------------------------------------------------------------------------- every call is counted out exactly once


class Counting(AdaptiveLimit):
    """A limit that knows which calls it was asked about."""

    made: list[Counting]

    def __init__(self, *, least: int, most: int) -> None:
        super().__init__(least=least, most=most)
        self.open = set[Asked]()
        self.total = 0
        self.made.append(self)

    def asked(self, tokens: int, now: float) -> Asked:
        asked = super().asked(tokens, now)
        self.open.add(asked)
        self.total += 1
        return asked

    def answered(self, asked: Asked, now: float) -> None:
        assert asked in self.open
        super().answered(asked, now)

    def ended(self, asked: Asked, uncached_tokens: int | None) -> None:
        self.open.remove(asked)
        super().ended(asked, uncached_tokens)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Counting]:
    """The limits that are made during a test."""
    Counting.made = []
    monkeypatch.setattr(seats, "AdaptiveLimit", Counting)
    return Counting.made


class Failing(Slotted):
    """Fails a call as the first of `failures` says, before it asks for a slot."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.failures: list[Exception] = []

    async def stream(self, ask: Ask) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        batches = super().stream(ask)
        try:
            async for batch in batches:
                yield batch
        finally:
            await batches.aclose()


def same() -> UpstreamError:
    """The kept-alive connection was closed as the request was sent."""
    error = UpstreamError("closed")
    error.again = Again.SAME
    return error


def elsewhere() -> UpstreamError:
    return UpstreamUnreachable("unreachable")


@pytest.mark.parametrize(
    ("marker", "failures", "asked"),
    [
        ("tokens=3", [], 1),
        ("tokens=3", [same], 2),
        ("tokens=3", [same, same, same], 4),
        ("tokens=3", [elsewhere], 2),
        ("tokens=3", [elsewhere, elsewhere], 3),
        ("tokens=3", [same, elsewhere], 3),
        ("fault=error_status status=500", [], 2),
        ("fault=error_status status=503", [], 3),
        ("fault=error_status status=400", [], 1),
        ("tokens=4 fault=close@0", [], 2),
        ("tokens=4 fault=close@2", [], 1),
        ("fault=nothing", [], 1),
    ],
)
def test_a_call_that_ended_is_counted_out_once(
    made: list[Counting], marker: str, failures: list[Any], asked: int
) -> None:
    async def main() -> None:
        async with busy(clients=0, make=Failing) as scene:
            assert isinstance(scene.engine, Failing)
            scene.engine.failures = [one() for one in failures]
            exchange = scene.send(marker)
            await exchange.ended
            await scene.world.quiet()
            assert [(one.total, one.open) for one in made] == [(asked, set())]

    run(main())


@pytest.mark.parametrize("deadline", [False, True], ids=["client", "deadline"])
@pytest.mark.parametrize(
    ("marker", "slots", "asked"),
    [
        ("ttft=60000", 1, 1),
        ("itl=60000 tokens=3", 1, 1),
        ("fault=stall@0", 1, 1),
        ("tokens=3", 0, 1),  # it waits in the engine
        ("tokens=3", None, 0),  # it waits at the gateway
    ],
)
def test_a_call_that_is_given_up_is_counted_out_once(
    made: list[Counting], deadline: bool, marker: str, slots: int | None, asked: int
) -> None:
    async def main() -> None:
        async with busy(clients=0, max_in_flight=1) as scene:
            before = scene.send("ttft=60000") if slots is None else None
            scene.engine.set_slots(1 if slots is None else slots)
            await asyncio.sleep(0.1)
            exchange = scene.send(marker, headers=("x-tidegate-deadline-ms: 2000",) if deadline else ())
            await asyncio.sleep(3 if deadline else 1)
            exchange.leave()
            await exchange.ended
            if before is not None:
                before.leave()
            await scene.world.quiet()
            assert [(one.total, one.open) for one in made] == [(asked + (before is not None), set())]

    run(main())


def test_calls_from_before_a_reload_that_stops_and_starts_adapting_count_for_their_own_limit(
    made: list[Counting], tmp_path: Path
) -> None:
    path = tmp_path / "tidegate.json"

    async def main() -> None:
        async with busy(path=path) as scene:
            await asyncio.sleep(30)
            await reload(scene, path, adapts=False)
            assert scene.seats.limit == MOST
            await asyncio.sleep(1)
            await reload(scene, path)
            scene.engine.set_slots(8)
            fell_at = scene.now
            await asyncio.sleep(60)
            assert scene.settled_s(8, fell_at) <= 45
            assert scene.errors(0) == 0
            await scene.stop()
            assert [one.open for one in made] == [set(), set()]
            assert all(one.total > MOST for one in made)

    run(main())
