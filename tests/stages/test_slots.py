"""The places of one engine: never more than its limit, first come first served, nothing lost however a call ends."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.dispatch.seats import MAX_WAITING, Slots
from tidegate.errors import DeadlineExceeded, Overloaded

pytestmark = pytest.mark.anyio
LONG_S = 60.0


async def test_without_a_limit_nobody_waits() -> None:
    slots = Slots()
    for _ in range(100):
        await slots.take(0.001)
    assert (slots.in_flight, slots.waiting) == (100, 0)


async def test_those_over_the_limit_are_served_in_order() -> None:
    slots, order = Slots(1), list[int]()
    await slots.take(LONG_S)

    async def call(number: int) -> None:
        await slots.take(LONG_S)
        order.append(number)
        slots.give_back()

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(call(number))
        await asyncio.sleep(0)
        assert slots.waiting == 5
        slots.give_back()
    assert order == [0, 1, 2, 3, 4]
    assert (slots.in_flight, slots.waiting) == (0, 0)


async def test_the_end_of_patience_is_a_deadline_and_frees_the_place_in_line() -> None:
    slots = Slots(1)
    await slots.take(LONG_S)
    with pytest.raises(DeadlineExceeded):
        await slots.take(0.001)
    assert (slots.in_flight, slots.waiting) == (1, 0)


async def test_a_full_line_refuses_with_a_time_to_come_back() -> None:
    slots = Slots(1)
    await slots.take(LONG_S)
    waiting = [asyncio.ensure_future(slots.take(LONG_S)) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as raised:
        await slots.take(LONG_S)
    assert raised.value.retry_after_s
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (slots.in_flight, slots.waiting) == (1, 0)


async def test_a_slot_given_to_a_call_that_was_just_cancelled_goes_to_the_next() -> None:
    slots = Slots(1)
    await slots.take(LONG_S)
    first, second = (asyncio.ensure_future(slots.take(LONG_S)) for _ in range(2))
    await asyncio.sleep(0)
    slots.give_back()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await second
    assert (slots.in_flight, slots.waiting) == (1, 0)


@given(limit=st.integers(1, 4), steps=st.lists(st.sampled_from(["take", "give", "cancel"]), max_size=40))
def test_in_flight_never_exceeds_the_limit(limit: int, steps: list[str]) -> None:
    async def play() -> None:
        slots = Slots(limit)
        calls: list[asyncio.Task[None]] = []
        for step in steps:
            done = [call for call in calls if call.done() and not call.cancelled()]
            if step == "take":
                calls.append(asyncio.ensure_future(slots.take(LONG_S)))
            elif step == "give" and done:
                calls.remove(done[0])
                slots.give_back()
            elif step == "cancel" and (waiting := [call for call in calls if not call.done()]):
                waiting[0].cancel()
                calls.remove(waiting[0])
            for _ in range(3):
                await asyncio.sleep(0)
            held = sum(call.done() and not call.cancelled() for call in calls)
            assert slots.in_flight == held <= limit
            assert slots.waiting == len(calls) - held
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(play())
