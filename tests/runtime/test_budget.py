"""A budget of bytes: never more than it allows, in the order of asking, and never at a standstill."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tidegate.budget import UNCOUNTED_BYTES, ByteBudget, Room

LIMIT = 100


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


class Budgets(RuleBasedStateMachine):
    """Holders that come, grow, are cancelled and go, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.budget = ByteBudget(LIMIT)
        self.rooms: list[Room] = []  # those that hold something, the oldest first
        self.waiting: list[tuple[Room, asyncio.Task[None]]] = []  # in the order of asking

    def teardown(self) -> None:
        """Whoever holds ends sooner or later. Then everybody has had a turn."""
        for _ in range(1000):
            self.turn()
            done = [room for room in self.rooms if all(room is not other for other, _ in self.waiting)]
            if not done:
                break
            done[0].release()
            self.rooms.remove(done[0])
        assert self.waiting == []
        assert (self.budget.held_bytes, self.budget.waiting) == (0, 0)
        self.loop.close()

    def turn(self) -> None:
        self.loop.run_until_complete(settle())
        for room, task in list(self.waiting):
            if task.done():
                task.result()
                self.waiting.remove((room, task))
                if room not in self.rooms:
                    self.rooms.append(room)

    def ask(self, room: Room, size: int) -> None:
        self.waiting.append((room, self.loop.create_task(room.take(size))))
        self.turn()

    def free(self) -> list[Room]:
        return [room for room in self.rooms if all(room is not other for other, _ in self.waiting)]

    @initialize()
    def begin(self) -> None:
        pass

    @rule(size=st.integers(1, 3 * LIMIT))
    def come(self, size: int) -> None:
        self.ask(self.budget.room(), size)

    @precondition(lambda self: self.free())
    @rule(data=st.data(), more=st.integers(1, LIMIT))
    def grow(self, data: st.DataObject, more: int) -> None:
        room = data.draw(st.sampled_from(self.free()))
        self.ask(room, room.held_bytes + more)

    @precondition(lambda self: self.rooms)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """With what it waits for, as a call whose client has left."""
        room = data.draw(st.sampled_from(self.rooms))
        self.cancel([task for other, task in self.waiting if other is room])
        room.release()
        self.rooms.remove(room)
        self.turn()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        self.cancel([data.draw(st.sampled_from(self.waiting))[1]])

    def cancel(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(settle())
        self.waiting = [(room, task) for room, task in self.waiting if task not in tasks]
        self.turn()

    @invariant()
    def is_counted(self) -> None:
        assert self.budget.held_bytes == sum(room.held_bytes for room in self.rooms)
        assert self.budget.waiting == len(self.waiting)

    @invariant()
    def only_the_oldest_exceeds(self) -> None:
        assert sum(room.held_bytes for room in self.rooms[1:]) <= LIMIT

    @invariant()
    def the_oldest_never_waits(self) -> None:
        assert not (self.rooms and any(room is self.rooms[0] for room, _ in self.waiting))
        assert self.rooms or not self.waiting


TestBudgets = Budgets.TestCase


async def asked(room: Room, size: int) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(room.take(size))
    await settle()
    return task


def test_who_asked_first_is_served_first_even_where_a_later_one_would_fit() -> None:
    async def main() -> None:
        budget = ByteBudget(LIMIT)
        first, large, small = budget.room(), budget.room(), budget.room()
        await first.take(80)
        waits_large, waits_small = await asked(large, 60), await asked(small, 10)
        assert (waits_large.done(), waits_small.done()) == (False, False)
        assert (budget.waiting, budget.had_to_wait) == (2, 2)
        first.release()
        await settle()
        assert (waits_large.done(), waits_small.done(), budget.held_bytes) == (True, True, 70)

    run(main())


def test_who_is_cancelled_stands_in_nobodys_way() -> None:
    async def main() -> None:
        budget = ByteBudget(LIMIT)
        first, large, small = budget.room(), budget.room(), budget.room()
        await first.take(80)
        waits_large, waits_small = await asked(large, 60), await asked(small, 10)
        waits_large.cancel()
        await settle()
        assert (waits_small.done(), budget.held_bytes) == (True, 90)

    run(main())


def test_who_is_granted_and_cancelled_in_one_turn_gives_it_back() -> None:
    async def main() -> None:
        budget = ByteBudget(LIMIT)
        first = budget.room()
        await first.take(80)

        async def hold() -> None:
            with budget.room() as room:
                await room.take(60)

        task = asyncio.get_running_loop().create_task(hold())
        await settle()
        first.release()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (budget.held_bytes, budget.waiting) == (0, 0)

    run(main())


def test_what_is_larger_than_the_whole_is_granted_alone() -> None:
    async def main() -> None:
        budget = ByteBudget(LIMIT)
        first, large, small = budget.room(), budget.room(), budget.room()
        await first.take(1)
        waits_large = await asked(large, 3 * LIMIT)
        assert not waits_large.done()
        first.release()
        waits_small = await asked(small, 1)
        assert (waits_large.done(), waits_small.done()) == (True, False)
        large.release()
        await settle()
        assert waits_small.done()

    run(main())


def test_two_that_grow_past_the_budget_both_end() -> None:
    async def main() -> None:
        budget = ByteBudget(LIMIT)
        one, other = budget.room(), budget.room()
        await one.take(50)
        await other.take(50)
        waits = await asked(other, 90)
        await one.take(90)
        assert (waits.done(), budget.held_bytes) == (False, 140)
        one.release()
        await settle()
        assert (waits.done(), budget.held_bytes) == (True, 90)

    run(main())


def test_who_cannot_wait_is_refused_and_keeps_what_it_has() -> None:
    budget = ByteBudget(4 * UNCOUNTED_BYTES)
    one, other = budget.room(), budget.room()
    assert one.try_take(2 * UNCOUNTED_BYTES)
    assert other.try_take(2 * UNCOUNTED_BYTES)
    assert not other.try_take(2 * UNCOUNTED_BYTES + 1)
    assert not other.could_take(3 * UNCOUNTED_BYTES)
    assert (other.held_bytes, budget.held_bytes) == (2 * UNCOUNTED_BYTES, 4 * UNCOUNTED_BYTES)
    assert (budget.refused, budget.room().try_take(UNCOUNTED_BYTES)) == (2, True)
    one.release()
    one.release()
    assert other.try_take(3 * UNCOUNTED_BYTES)
    assert (budget.held_bytes, budget.refused) == (4 * UNCOUNTED_BYTES, 2)


def test_what_is_there_already_is_counted_and_makes_others_wait() -> None:
    async def main() -> None:
        budget = ByteBudget(LIMIT)
        there, other = budget.room(), budget.room()
        there.cover(LIMIT + 50)
        waits = await asked(other, 1)
        assert (waits.done(), budget.held_bytes) == (False, LIMIT + 50)
        there.release()
        await settle()
        assert waits.done()

    run(main())
