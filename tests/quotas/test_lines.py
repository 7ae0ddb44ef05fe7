"""The lines of waiting calls by themselves: who is called, and who finds a place."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual import run

from tidegate.quotas.lines import LOOK_AGAIN_S, Lines, Place
from tidegate.types import Caller, Limit, Per, Ticket

CALLS = Limit("team", "x", "concurrent_calls", 1, per=Per.CALL)
TOKENS = Limit("team", "x", "tokens_per_minute", 6000)
OTHER = Limit("team", "y", "tokens_per_minute", 6000)


class Waiting:
    """Calls that wait; `called` has the names of those that were called, in order."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.called: list[tuple[str, float]] = []
        self._stack = ExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    def join(
        self, name: str, limit: Limit, *, key: str, needs: int = 1, fits_s: float | None = None
    ) -> Place:
        place = self._stack.enter_context(self.lines.place(Caller(key=key)))

        async def wait() -> None:
            while True:
                await place.wait(limit.bucket, needs, fits_s, most_s=1000)
                self.called.append((name, round(asyncio.get_running_loop().time(), 2)))

        self._tasks.append(asyncio.create_task(wait()))
        return place

    async def names(self) -> list[str]:
        """Return the names of those that were called since the last time."""
        await asyncio.sleep(0.01)
        found, self.called = self.called, []
        return [name for name, _ in found]

    def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._stack.close()
        assert self.lines.waiting == 0


def ticket(limit: Limit, amount: int) -> Ticket:
    return Ticket("t", (limit,), [amount], (0,), 0.0)


@pytest.mark.parametrize(
    ("limit", "reserved", "used", "called"),
    [
        (CALLS, 1, 1, ["a"]),
        (CALLS, 1, 0, ["a"]),
        (TOKENS, 100, 10, []),
        (OTHER, 100, 10, []),
        (TOKENS, 100, 100, []),
    ],
)
def test_only_a_limit_of_which_something_is_given_back_calls(
    limit: Limit, reserved: int, used: int, called: list[str]
) -> None:
    async def scene() -> None:
        one = Waiting()
        one.join("a", CALLS, key="a")
        one.join("behind", CALLS, key="a")
        assert await one.names() == []
        one.lines.given_back(ticket(limit, reserved), [used])
        assert await one.names() == called
        one.end()

    run(scene())


def test_a_call_that_is_refused_again_passes_on_to_one_that_needs_less() -> None:
    async def scene() -> None:
        one = Waiting()
        for name, needs in (("a", 500), ("b", 900), ("c", 500), ("d", 20), ("e", 30), ("f", 10)):
            one.join(name, TOKENS, key=name, needs=needs, fits_s=1000.0)
        assert await one.names() == []
        one.lines.given_back(ticket(TOKENS, 100), [0])
        assert await one.names() == ["a", "d", "f"]
        one.end()

    run(scene())


def test_a_call_that_leaves_calls_the_next_key_and_its_own_line() -> None:
    async def scene() -> None:
        one = Waiting()
        first = one.join("a1", CALLS, key="a")
        for name in ("a2", "b1", "b2", "c1"):
            one.join(name, CALLS, key=name[0])
        assert await one.names() == []
        first.leave()
        assert await one.names() == ["b1", "a2"]
        one.end()

    run(scene())


def test_the_first_in_turn_tries_at_its_time_and_the_others_less_often() -> None:
    async def scene() -> None:
        one = Waiting()
        for at in range(100):
            one.join(f"{at}", TOKENS, key=f"{at}", fits_s=0.1)
        await asyncio.sleep(10.05)
        counts = [sum(name == f"{at}" for name, _ in one.called) for at in range(100)]
        assert counts[0] == 100
        assert all(9 <= count <= 10 for count in counts[1:])
        one.end()

    run(scene())


def test_a_call_without_a_time_looks_again() -> None:
    async def scene() -> None:
        one = Waiting()
        one.join("a", CALLS, key="a")
        one.join("long", TOKENS, key="a", fits_s=3600.0)
        await asyncio.sleep(LOOK_AGAIN_S + 0.1)
        assert sorted(await one.names()) == ["a", "long"]
        one.end()

    run(scene())


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["", "acme", "other"])), max_size=300))
def test_a_caller_who_does_not_wait_finds_a_place(arrivals: list[tuple[int, str]]) -> None:
    async def scene() -> None:
        lines = Lines(most=40, most_of_a_key=12)
        with ExitStack() as stack:
            for key, organisation in arrivals:
                caller = Caller(key=f"{organisation}{key}", organisation=organisation)
                if lines.full(caller) is None:
                    stack.enter_context(lines.place(caller))
            assert lines.waiting <= 40
            assert lines.full(Caller(key="new")) is None or lines.waiting == 40
            if lines.waiting < 40:
                assert lines.full(Caller(key="new", organisation="new")) is None
        assert lines.waiting == 0
        assert lines.full(Caller(key="new")) is None

    run(scene())


def test_one_organisation_has_half_of_the_places() -> None:
    async def scene() -> None:
        lines = Lines()
        with ExitStack() as stack:
            for at in range(2000):
                caller = Caller(key=f"{at % 50}", organisation="acme")
                if lines.full(caller) is None:
                    stack.enter_context(lines.place(caller))
            assert lines.waiting == 500
            for at in range(2000):
                caller = Caller(key=f"{at % 50}", organisation="other")
                if lines.full(caller) is None:
                    stack.enter_context(lines.place(caller))
            assert lines.waiting == 750
            for at in range(2000):
                caller = Caller(key=f"k{at}")
                if lines.full(caller) is None:
                    stack.enter_context(lines.place(caller))
            assert lines.waiting == 1000
            error = lines.full(Caller(key="one-more"))
            assert error is not None
            assert (error.at, error.dimension, error.param) == (
                "gateway",
                "waiting_calls",
                "gateway.waiting_calls",
            )

    run(scene())
