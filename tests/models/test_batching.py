"""How a worker divides what it reads into runs of its model."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import UpstreamError
from tidegate.models.batching import NICER, Batching, Sizes

SIZES = Sizes(texts=64, batch_tokens=10_000, run_tokens=60, run_padding=8)


class Row(NamedTuple):
    """A row of as many tokens as its text has characters."""

    ids: list[int]


class Noted:
    """A model that notes the lengths of the rows in each run, and whose result for a row is its length."""

    name = "noted model"

    def __init__(self) -> None:
        self.ran: list[list[int]] = []

    def load(self) -> None: ...

    def rows(self, text: str) -> Sequence[Row]:
        return [Row([0] * len(text))]

    def run(self, rows: Sequence[Row]) -> Sequence[int]:
        self.ran.append([len(row.ids) for row in rows])
        return self.ran[-1]

    def unload(self) -> None: ...


@asynccontextmanager
async def worker(model: Noted, sizes: Sizes) -> AsyncIterator[Batching[Row, int]]:
    batching = Batching(model, sizes, time.monotonic)
    try:
        yield batching
    finally:
        await batching.close()


async def lengths(model: Noted, sizes: Sizes, wanted: Sequence[int]) -> list[int]:
    async with worker(model, sizes) as batching:
        found = await asyncio.wrap_future(batching.submit(["a" * length for length in wanted]).future)
    return [result for (result,) in found]


@given(st.lists(st.integers(1, 80), min_size=1, max_size=64))
def test_a_run_has_little_padding_and_every_row_its_own_result(wanted: list[int]) -> None:
    model = Noted()
    assert asyncio.run(lengths(model, SIZES, wanted)) == wanted
    assert sorted(length for run in model.ran for length in run) == sorted(wanted)
    for run in model.ran:
        assert len(run) == 1 or max(run) * len(run) <= SIZES.run_tokens
        assert max(run) * len(run) - sum(run) <= SIZES.run_padding


@pytest.mark.parametrize(
    ("wanted", "runs"),
    [
        ([20, 20, 20], [[20, 20, 20]]),
        ([20, 20, 4], [[4], [20, 20]]),
        ([16, 20, 18], [[16, 18, 20]]),
        ([30, 30, 30], [[30, 30], [30]]),
        ([70, 1], [[1], [70]]),
    ],
)
def test_rows_of_like_length_share_a_run(wanted: list[int], runs: list[list[int]]) -> None:
    model = Noted()
    asyncio.run(lengths(model, SIZES, wanted))
    assert model.ran == runs


class Picky(Noted):
    """A model that cannot read a text with an `x`."""

    def rows(self, text: str) -> Sequence[Row]:
        if "x" in text:
            raise RuntimeError("no x")
        return super().rows(text)


def test_a_text_that_cannot_be_read_fails_alone() -> None:
    async def run() -> None:
        async with worker(Picky(), SIZES) as batching:
            asked = [batching.submit([text]) for text in ("aa", "x", "aaa", "ax")]
            asked.append(batching.submit(["a", "x", "aa"]))
            found = await asyncio.gather(
                *(asyncio.wrap_future(one.future) for one in asked), return_exceptions=True
            )
            assert [found[0], found[2]] == [[[2]], [[3]]]
            for at in (1, 3, 4):
                assert isinstance(found[at], UpstreamError)
            assert await asyncio.wrap_future(batching.submit(["aaaa"]).future) == [[4]]

    asyncio.run(run())


class Nice(Noted):
    """A model whose result for a row is the niceness of the thread that runs it."""

    def run(self, rows: Sequence[Row]) -> Sequence[int]:
        return [os.getpriority(os.PRIO_PROCESS, threading.get_native_id())] * len(rows)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux only")
def test_event_loops_come_first_where_they_want_the_core_of_the_model() -> None:
    loop = os.getpriority(os.PRIO_PROCESS, 0)
    assert asyncio.run(lengths(Nice(), SIZES, [1])) == [min(loop + NICER, 19)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == loop
