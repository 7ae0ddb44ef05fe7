"""The contract of the port CountStore, for every store that keeps counts of days and months."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_kinds import STORES

from tidegate.errors import Overloaded
from tidegate.ports import CountStore
from tidegate.types import PeriodCount

pytestmark = pytest.mark.anyio

DAY = 86_400
COUNT = PeriodCount("key:ann/requests_per_day", 10 * DAY, 11 * DAY, 7)


@pytest.fixture(params=STORES)
def open_counts(request, tmp_path):
    @asynccontextmanager
    async def opened() -> AsyncIterator[CountStore]:
        async with STORES[request.param](tmp_path, time.time) as store:
            counts = store.counts()
            assert counts is not None
            yield counts

    return opened


@pytest.fixture
async def counts(open_counts) -> AsyncIterator[CountStore]:
    async with open_counts() as opened:
        yield opened


def by_bucket(found) -> dict[str, PeriodCount]:
    assert len({one.bucket for one in found}) == len(found)
    return {one.bucket: one for one in found}


async def test_an_empty_store_has_no_counts(counts):
    assert list(await counts.read(after=0)) == []
    await counts.write([], ended=0)
    assert list(await counts.read(after=0)) == []


@pytest.mark.parametrize(
    "bucket",
    [
        "'; DROP TABLE counts; --", "", "\0", "a\0b", "ключ", "\u202e", "key:a/b%2Fc/usd_per_month",
        "\ud800", "\udfff\ud800", "é", "x" * 10_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("used", [0, 1, 5_000_000, 2**62])
async def test_a_count_is_read_as_it_was_written(open_counts, bucket: str, used: int):
    given = PeriodCount(bucket, 10 * DAY, 41 * DAY, used)
    async with open_counts() as counts:
        await counts.write([COUNT, given], ended=0)
        assert by_bucket(await counts.read(after=0)) == {COUNT.bucket: COUNT, bucket: given}
    async with open_counts() as counts:
        assert by_bucket(await counts.read(after=0)) == {COUNT.bucket: COUNT, bucket: given}


@pytest.mark.parametrize("used", [2**63, 2**64 + 1, 10**40])
async def test_a_count_beyond_every_limit_is_kept_as_a_very_large_one(counts, used: int):
    await counts.write([PeriodCount("a", 0, DAY, used), COUNT], ended=0)
    found = by_bucket(await counts.read(after=0))
    assert found["a"].used >= 2**62
    assert found[COUNT.bucket] == COUNT


async def test_a_later_count_replaces_the_one_before_even_if_it_is_less(counts):
    for used in (7, 9, 3, 0):
        await counts.write([PeriodCount("a", 0, DAY, used), PeriodCount("b", 0, DAY, 10 - used)], ended=0)
    await counts.write([PeriodCount("b", DAY, 2 * DAY, 1)], ended=0)
    assert by_bucket(await counts.read(after=0)) == {
        "a": PeriodCount("a", 0, DAY, 0),
        "b": PeriodCount("b", DAY, 2 * DAY, 1),
    }


async def test_periods_that_have_ended_are_not_read_and_are_deleted(counts):
    every = [PeriodCount(str(number), 0, number * DAY, number) for number in range(1, 8)]
    await counts.write(every, ended=0)
    assert set(by_bucket(await counts.read(after=3 * DAY))) == {"4", "5", "6", "7"}
    assert set(by_bucket(await counts.read(after=3 * DAY - 0.5))) == {"3", "4", "5", "6", "7"}
    await counts.write([COUNT], ended=4 * DAY)
    assert set(by_bucket(await counts.read(after=0))) == {"5", "6", "7", COUNT.bucket}
    await counts.write([], ended=7 * DAY + 0.5)
    assert set(by_bucket(await counts.read(after=0))) == {COUNT.bucket}


async def test_very_many_counts(counts):
    every = [PeriodCount(f"end_user:{number}", 0, DAY, number) for number in range(20_000)]
    await counts.write(every, ended=0)
    assert sum(one.used for one in await counts.read(after=0)) == sum(range(20_000))


async def test_writes_take_effect_in_the_order_in_which_they_were_asked_for(counts):
    await asyncio.gather(*(counts.write([PeriodCount("a", 0, DAY, used)], ended=0) for used in range(50)))
    assert by_bucket(await counts.read(after=0))["a"].used == 49


async def test_closing_writes_what_was_asked_for_before(open_counts):
    async with open_counts() as counts:
        writing = asyncio.ensure_future(counts.write([COUNT], ended=0))
        await asyncio.sleep(0)  # it has handed over its work
    await writing
    async with open_counts() as counts:
        assert list(await counts.read(after=0)) == [COUNT]
    with pytest.raises(Overloaded):
        await counts.read(after=0)
    with pytest.raises(Overloaded):
        await counts.write([COUNT], ended=0)


COUNTS = st.builds(PeriodCount, st.text(max_size=3), st.integers(0, 5), st.integers(6, 12), st.integers(0, 9))


@pytest.mark.parametrize("kind", STORES)
@settings(max_examples=30, deadline=None)
@given(writes=st.lists(st.tuples(st.lists(COUNTS, max_size=5), st.integers(0, 12)), max_size=6))
def test_it_is_a_dict_by_bucket_without_what_has_ended(tmp_path_factory, kind: str, writes):
    async def main() -> None:
        async with STORES[kind](tmp_path_factory.mktemp("store"), time.time) as store:
            counts, model = store.counts(), dict[str, PeriodCount]()
            assert counts is not None
            for batch, ended in writes:
                await counts.write(batch, ended=ended)
                model |= {one.bucket: one for one in batch}
                model = {bucket: one for bucket, one in model.items() if one.until > ended}
                assert by_bucket(await counts.read(after=0)) == model

    asyncio.run(main())
