"""One timer for the deadlines of all calls: each is ended when it is due, whatever the others do."""

from __future__ import annotations

import asyncio

import pytest
from virtual import run

from tidegate.config import parse_text
from tidegate.errors import GatewayError, Overloaded
from tidegate.gateway import DUE_WITHIN_S, Gateway, LiveCalls

TIME_S = 10.0
CONFIG = """
engines: {script: {kind: scripted}}
models: {any: {deployments: [{engine: script}]}}
"""


class Waiting:
    """A call that waits for its end, and keeps when that came and why."""

    def __init__(self, live: LiveCalls) -> None:
        self._loop = asyncio.get_running_loop()
        self._live = live
        self.due_at = self._loop.time() + TIME_S
        self.ended_at: float | None = None
        self.reason: GatewayError | None = None
        live.add(self)

    def stop(self, reason: GatewayError) -> None:
        self.reason = reason
        self._live.discard(self)

    def end_overdue(self) -> None:
        self.ended_at = self._loop.time()
        self._live.discard(self)


def within(due_at: float) -> object:
    return pytest.approx(due_at + DUE_WITHIN_S / 2, abs=DUE_WITHIN_S / 2 + 0.01)


def test_each_call_is_ended_when_it_is_due_and_not_before() -> None:
    async def scene() -> list[float | None]:
        live = LiveCalls(asyncio.get_running_loop())
        calls: list[Waiting] = []
        for _ in range(20):
            calls.append(Waiting(live))
            await asyncio.sleep(0.7)
        await asyncio.sleep(2 * TIME_S)
        assert not live
        return [call.ended_at for call in calls]

    assert run(scene()) == [within(number * 0.7 + TIME_S) for number in range(20)]


def test_a_call_that_gets_more_time_has_it() -> None:
    async def scene() -> tuple[float | None, float | None]:
        live = LiveCalls(asyncio.get_running_loop())
        patient, other = Waiting(live), Waiting(live)
        await asyncio.sleep(4)
        patient.due_at = 4 + TIME_S
        await asyncio.sleep(3 * TIME_S)
        return other.ended_at, patient.ended_at

    assert run(scene()) == (within(TIME_S), within(4 + TIME_S))


def test_a_call_after_a_long_silence_has_its_whole_time() -> None:
    async def scene() -> float | None:
        live = LiveCalls(asyncio.get_running_loop())
        live.discard(Waiting(live))
        await asyncio.sleep(100)
        late = Waiting(live)
        await asyncio.sleep(3 * TIME_S)
        return late.ended_at

    assert run(scene()) == within(100 + TIME_S)


def test_all_can_be_stopped_at_once() -> None:
    async def scene() -> list[GatewayError | None]:
        live = LiveCalls(asyncio.get_running_loop())
        calls = [Waiting(live) for _ in range(3)]
        live.stop(Overloaded("enough", retry_after_s=1))
        assert not live
        return [call.reason for call in calls]

    assert [reason.message for reason in run(scene()) if reason] == ["enough"] * 3


def test_a_gateway_that_is_opened_again_in_another_loop_has_deadlines_again() -> None:
    gateway = Gateway(parse_text(CONFIG, source="a test"))

    async def scene() -> float | None:
        async with gateway:
            call = Waiting(gateway.live)
            if rounds.pop() == "first":
                gateway.live.discard(call)  # its time is not over when the loop is
                return None
            await asyncio.sleep(2 * TIME_S)
            return call.ended_at

    rounds = ["second", "first"]
    assert run(scene()) is None
    assert run(scene()) == within(TIME_S)
