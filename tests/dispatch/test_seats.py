"""The seats of one engine: never more than its limit, first come first served, nothing lost however a call ends."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.dispatch.deployments import Deployment
from tidegate.dispatch.place import Permit, Place
from tidegate.dispatch.queue import Queue
from tidegate.dispatch.rules import Needs, QueueRules
from tidegate.dispatch.seats import Seats
from tidegate.errors import DeadlineExceeded, Overloaded

pytestmark = pytest.mark.anyio
LONG_S = 60.0


def needs() -> Needs:
    return Needs("default")


class Room:
    """One engine's seats and the queue before them."""

    def __init__(
        self, limit: int | None = None, *, reserved: int = 0, rules: QueueRules | None = None
    ) -> None:
        self.seats = Seats(limit, reserved=reserved)
        self.queue = Queue(time.monotonic, rules)
        self.deployment = Deployment("e", None, self.seats)

    def enter(self) -> Place:
        return self.queue.enter("default", needs, [self.deployment])

    async def take(self, patience_s: float = LONG_S, *, internal: bool = False) -> Permit:
        place = self.queue.enter_own() if internal else self.enter()
        return await self.wait(place, patience_s)

    async def wait(self, place: Place, patience_s: float = LONG_S) -> Permit:
        return await place.dispatch([self.deployment], time.monotonic() + patience_s, needs)

    @property
    def state(self) -> tuple[int, int]:
        return self.seats.in_flight, self.seats.waiting


async def turns() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def test_without_a_limit_nobody_waits() -> None:
    room = Room()
    for _ in range(100):
        await room.take(0.001)
    assert room.state == (100, 0)


async def test_those_over_the_limit_are_served_in_order() -> None:
    room, order = Room(1), list[int]()
    first = await room.take()

    async def call(number: int) -> None:
        permit = await room.take()
        order.append(number)
        permit.release()

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(call(number))
        await turns()
        assert room.seats.waiting == 5
        first.release()
    assert order == [0, 1, 2, 3, 4]
    assert room.state == (0, 0)


async def test_a_place_keeps_its_rank_for_another_round() -> None:
    room, order = Room(1), list[str]()
    held = await room.take()
    early, late = room.enter(), room.enter()

    deadline = time.monotonic() + LONG_S

    async def call(name: str, place: Place) -> None:
        permit = await place.dispatch([room.deployment], deadline, needs)
        order.append(name)
        permit.release()

    async with asyncio.TaskGroup() as group:
        group.create_task(call("late", late))
        await turns()
        group.create_task(call("early", early))
        await turns()
        held.release()
    assert order == ["early", "late"]


async def test_only_the_first_wait_is_compared_with_what_was_predicted() -> None:
    room, seen = Room(1), list[int]()
    room.queue.observe = lambda place: seen.append(place.rank)
    place = room.enter()
    for waits in (1, 1):
        held = await room.take()
        waiting = asyncio.ensure_future(room.wait(place))
        await turns()
        held.release()
        (await waiting).release()
        assert seen == [place.rank] * waits


async def test_a_seat_that_was_declined_says_nothing_of_the_engine() -> None:
    room = Room(1)
    permit = await room.take()
    waiting = asyncio.ensure_future(room.take())
    await turns()
    permit.decline()
    permit.decline()
    permit.release()
    following = await waiting
    assert room.state == (1, 0)
    assert room.seats.rate(time.monotonic()) == float("inf"), "no call has ended"
    following.release()


async def test_the_end_of_patience_is_a_deadline_and_frees_the_place_in_line() -> None:
    room = Room(1)
    await room.take()
    with pytest.raises(DeadlineExceeded):
        await room.take(0.001)
    assert room.state == (1, 0)


async def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    room = Room(1, rules=QueueRules(max_size=20))
    await room.take()
    waiting = [asyncio.ensure_future(room.take()) for _ in range(20)]
    await turns()
    with pytest.raises(Overloaded) as raised:
        await room.take()
    assert raised.value.retry_after_s
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert room.state == (1, 0)
    assert (room.queue.bounds.size, room.queue.bounds.work, room.queue.bounds.bytes) == (0, 0, 0)


@pytest.mark.parametrize("models", [1, 2, 5])
async def test_a_call_waits_once_for_an_engine_that_could_serve_it_under_several_names(models: int) -> None:
    room = Room(1)
    held = await room.take()
    deployments = [Deployment("e", None, room.seats, str(number)) for number in range(models)]
    places = [room.queue.enter("default", needs, deployments) for _ in range(3)]
    deadline = time.monotonic() + LONG_S
    waiting = [asyncio.ensure_future(one.dispatch(deployments, deadline, needs)) for one in places]
    await turns()
    assert room.state == (1, 3)
    assert room.queue.enter("default", needs, deployments).position == 4
    held.release()
    for one in waiting:
        permit = await one
        assert permit.deployment is deployments[0]
        permit.release()
    assert room.state == (0, 0)


async def test_a_seat_given_to_a_call_that_was_just_cancelled_goes_to_the_next() -> None:
    room = Room(1)
    held = await room.take()
    first, second = (asyncio.ensure_future(room.take()) for _ in range(2))
    await turns()
    held.release()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await second
    assert room.state == (1, 0)


async def test_a_seat_that_becomes_free_as_the_next_call_leaves_goes_to_the_one_behind_it() -> None:
    room = Room(1)
    held = await room.take()
    first, second = (asyncio.ensure_future(room.take()) for _ in range(2))
    await turns()
    first.cancel()
    held.release()  # the first one has not run since
    await asyncio.gather(first, return_exceptions=True)
    await second
    assert room.state == (1, 0)


async def test_a_call_that_leaves_as_it_has_to_give_way_leaves() -> None:
    room = Room(1, rules=QueueRules(max_size=1))
    await room.take()
    batch = room.queue.enter("batch", lambda: Needs("batch"), [room.deployment])
    waiting = asyncio.ensure_future(batch.dispatch([room.deployment], time.monotonic() + LONG_S, needs))
    await turns()
    waiting.cancel()
    room.enter()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    assert (room.seats.waiting, room.queue.bounds.size) == (0, 1)


async def test_a_permit_is_given_back_once() -> None:
    room = Room(2)
    permit, _ = await room.take(), await room.take()
    permit.release()
    permit.release()
    assert room.state == (1, 0)


async def test_a_raised_limit_wakes_those_who_wait() -> None:
    room = Room(1)
    await room.take()
    waiting = [asyncio.ensure_future(room.take()) for _ in range(3)]
    await turns()
    room.seats.set_limit(3)
    await turns()
    assert room.state == (3, 1)
    room.seats.set_limit(None)
    await asyncio.gather(*waiting)
    assert room.state == (4, 0)


async def test_reserved_seats_are_never_a_clients() -> None:
    room = Room(2, reserved=1)
    await room.take()
    client = asyncio.ensure_future(room.take())
    await turns()
    assert room.state == (1, 1)
    ours = await room.take(internal=True)
    assert room.state == (2, 1)
    ours.release()
    await turns()
    assert room.state == (1, 1)
    client.cancel()
    await asyncio.gather(client, return_exceptions=True)


async def test_a_call_takes_the_first_free_seat_of_any_candidate() -> None:
    busy, free = Seats(1), Seats(1)
    assert busy.try_take()
    two = [Deployment("busy", None, busy), Deployment("free", None, free)]
    queue = Queue(time.monotonic)
    permit = await queue.enter("default", needs, two).dispatch(two, time.monotonic() + LONG_S, needs)
    assert permit.deployment.engine_name == "free"
    waiting = asyncio.ensure_future(
        queue.enter("default", needs, two).dispatch(two, time.monotonic() + LONG_S, needs)
    )
    await turns()
    busy.release()
    assert (await waiting).deployment.engine_name == "busy"
    assert (busy.waiting, free.waiting) == (0, 0)


@given(limit=st.integers(1, 4), steps=st.lists(st.sampled_from(["take", "give", "cancel"]), max_size=40))
def test_in_flight_never_exceeds_the_limit(limit: int, steps: list[str]) -> None:
    async def play() -> None:
        room = Room(limit)
        calls: list[asyncio.Task[Permit]] = []
        for step in steps:
            done = [call for call in calls if call.done() and not call.cancelled()]
            if step == "take":
                calls.append(asyncio.ensure_future(room.take()))
            elif step == "give" and done:
                calls.remove(done[0])
                done[0].result().release()
            elif step == "cancel" and (waiting := [call for call in calls if not call.done()]):
                waiting[0].cancel()
                calls.remove(waiting[0])
            await turns()
            held = sum(call.done() and not call.cancelled() for call in calls)
            assert room.seats.in_flight == held <= limit
            assert room.seats.waiting == len(calls) - held
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(play())


@pytest.mark.parametrize(
    "shunned", [(1,), (0, 1), (1, 0), (0, 0, 1), (0, 1, 2), (1, 2, 0), (2, 1, 0, 2, 1, 0)]
)
async def test_a_call_in_line_keeps_a_line_however_many_engines_are_shunned(shunned: tuple[int, ...]) -> None:
    """The last engine that is left serves it, and no other one."""
    rooms = [Room(1) for _ in range(1 + max(shunned))]
    deployments = [room.deployment for room in rooms]
    held = [await room.take() for room in rooms]
    place = rooms[0].queue.enter("default", needs, deployments)
    call = asyncio.create_task(place.dispatch(deployments, time.monotonic() + LONG_S, needs))
    await turns()
    for number in shunned:
        rooms[number].seats.shun()
    (left,) = [number for number, room in enumerate(rooms) if room.seats.waiting] or [None]
    assert left is not None, "the call is in no line, and waits for its deadline"
    for number, permit in enumerate(held):
        if number != left:
            permit.release()
    await turns()
    assert not call.done()
    held[left].release()
    permit = await asyncio.wait_for(call, LONG_S)
    assert permit.deployment is deployments[left]
    assert [room.seats.waiting for room in rooms] == [0] * len(rooms)
