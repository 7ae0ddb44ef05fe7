"""Counts of days and months in a store: what a limiter starts with, what it writes, and the store away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from quota_world import START, World, minute

from tidegate.errors import Overloaded, RateLimited
from tidegate.quotas import process
from tidegate.quotas.process import Kept
from tidegate.types import Limit, Per, PeriodCount

HOUR = 3600
BERLIN = Limit("key", "x", "requests_per_day", 10, per=Per.DAY, zone="Europe/Berlin")
UTC_DAY = msgspec.structs.replace(BERLIN, zone="UTC")
MONTH = Limit("team", "blue", "usd_per_month", 5_000_000, per=Per.MONTH, money=True)
TOKENS = Limit("team", "blue", "tokens_per_day", 1000, per=Per.DAY)


class Memory:
    """A CountStore that outlives the process of a test. While `away` is set, it does not answer."""

    def __init__(self) -> None:
        self.counts: dict[str, PeriodCount] = {}
        self.writes: list[list[str]] = []
        self.away = False

    async def read(self, *, after: float) -> Sequence[PeriodCount]:
        return [one for one in self.counts.values() if one.until > after]

    async def write(self, counts: Sequence[PeriodCount], *, ended: float) -> None:
        if self.away:
            raise Overloaded("The store does not answer")
        self.counts |= {one.bucket: one for one in counts}
        self.counts = {bucket: one for bucket, one in self.counts.items() if one.until > ended}
        self.writes.append([one.bucket for one in counts])

    def used(self) -> dict[str, int]:
        return {bucket: one.used for bucket, one in self.counts.items()}


class Life(World):
    """One life of a process with a store, from `at` on, in seconds after the start of the tests."""

    def __init__(self, store: Memory | None, at: float = 5.0, **options: int) -> None:
        super().__init__(**options)
        self.us = round(at * 1e6)
        self.kept = Kept(self.limiter)
        if store is not None:
            self.keep_in(store)

    def keep_in(self, store: Memory | None) -> None:
        found = [] if store is None else list(store.counts.values())
        self.kept.keep_in(store, found)

    def spend(self, *wants: tuple[Limit, int]) -> None:
        ticket = self.reserve(*wants)
        self.limiter.settle(ticket, ticket.amounts)

    def flush(self) -> None:
        asyncio.run(self.kept.flush())

    def left(self, limit: Limit) -> int:
        try:
            ticket = self.reserve((limit, 0))
        except RateLimited as error:
            return error.left[0]
        self.limiter.settle(ticket, [0])
        return ticket.left[0]


def seconds_to(text: str, zone: str = "UTC") -> float:
    """From the start of the tests to a time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() - START


@pytest.mark.parametrize("limit", [BERLIN, UTC_DAY, MONTH, TOKENS])
def test_the_next_life_starts_with_what_the_one_before_has_used(limit: Limit):
    store, most = Memory(), limit.most
    first = Life(store)
    first.spend((limit, 4), (minute("key", 60), 1))
    first.flush()
    second = Life(store, at=65)
    assert second.left(limit) == most - 4
    second.spend((limit, most - 4))
    with pytest.raises(RateLimited):
        second.reserve((limit, 1))
    second.flush()
    assert Life(store, at=100).left(limit) == 0
    assert set(store.counts) == {limit.bucket}


def test_what_is_reserved_is_written_and_what_is_settled_corrects_it():
    store = Memory()
    life = Life(store)
    ticket = life.reserve((TOKENS, 300))
    life.flush()
    assert store.used() == {TOKENS.bucket: 300}
    assert Life(store).left(TOKENS) == 700  # its holder has died
    life.limiter.settle(ticket, [40])
    life.flush()
    assert Life(store).left(TOKENS) == 960
    ticket = life.reserve((TOKENS, 300))
    life.flush()
    life.limiter.abandon(ticket)
    life.flush()
    assert store.used() == {TOKENS.bucket: 340}
    ticket = life.reserve((TOKENS, 100))
    life.limiter.settle(ticket, [5000])
    life.flush()
    assert Life(store).left(TOKENS) == -4340  # in debt


def test_a_refused_call_leaves_nothing():
    store = Memory()
    life = Life(store)
    life.spend((BERLIN, 9))
    with pytest.raises(RateLimited):
        life.reserve((TOKENS, 300), (BERLIN, 5))
    life.flush()
    assert Life(store).left(TOKENS) == 1000


def test_only_what_has_changed_is_written():
    store = Memory()
    life = Life(store)
    life.flush()
    life.spend((minute("key", 600), 5), (Limit("key", "x", "concurrent_calls", 2, per=Per.CALL), 1))
    life.flush()
    assert store.writes == []
    life.spend((BERLIN, 1), (TOKENS, 2))
    life.spend((BERLIN, 1))
    life.flush()
    life.spend((TOKENS, 1))
    life.flush()
    life.flush()
    assert store.writes == [[BERLIN.bucket, TOKENS.bucket], [TOKENS.bucket]]
    assert Life(store).used() == {}


@pytest.mark.parametrize(
    ("limit", "last", "again", "left"),
    [
        (UTC_DAY, "2026-06-10T23:59:59", "2026-06-11T00:00:00", 10),
        (UTC_DAY, "2026-06-10T00:00:00", "2026-06-10T23:59:59", 3),
        (UTC_DAY, "2026-06-10T12:00:00", "2026-06-12T12:00:00", 10),
        (BERLIN, "2026-06-10T21:59:59", "2026-06-10T22:00:00", 10),
        (BERLIN, "2026-06-10T22:00:00", "2026-06-11T21:59:59", 3),
        (MONTH, "2026-06-01T00:00:00", "2026-06-30T23:59:59", 4_999_993),
        (MONTH, "2026-06-30T23:59:59", "2026-07-01T00:00:00", 5_000_000),
        # A clock that was set back does not begin a day again.
        (UTC_DAY, "2026-06-11T00:00:01", "2026-06-10T23:59:59", 3),
        # A clock that was far ahead blocks nothing once it is right.
        (UTC_DAY, "2031-01-01T00:00:01", "2026-06-10T23:59:59", 10),
        (MONTH, "9999-11-01T00:00:01", "2026-06-10T23:59:59", 5_000_000),
    ],
)  # fmt: skip
def test_the_next_period_begins_anew(limit: Limit, last: str, again: str, left: int):
    store = Memory()
    life = Life(store, at=seconds_to(last))
    life.spend((limit, 7))
    life.flush()
    assert Life(store, at=seconds_to(again)).left(limit) == left


@pytest.mark.parametrize(
    ("before", "after", "last", "again", "left"),
    [
        # Berlin's day of June 11 is from 22:00 to 22:00 UTC.
        ("Europe/Berlin", "UTC", "2026-06-11T12:00:00", "2026-06-11T12:00:05", 3),
        ("Europe/Berlin", "UTC", "2026-06-11T21:00:00", "2026-06-11T23:59:59", 3),
        ("Europe/Berlin", "UTC", "2026-06-11T21:00:00", "2026-06-12T00:00:00", 10),
        ("UTC", "Europe/Berlin", "2026-06-11T21:00:00", "2026-06-11T22:30:00", 3),
        ("UTC", "Europe/Berlin", "2026-06-11T21:00:00", "2026-06-12T21:59:59", 3),
        ("UTC", "Europe/Berlin", "2026-06-11T21:00:00", "2026-06-12T22:00:00", 10),
        ("Pacific/Kiritimati", "Etc/GMT+12", "2026-06-11T09:00:00", "2026-06-11T11:59:59", 3),
        ("Pacific/Kiritimati", "Etc/GMT+12", "2026-06-11T09:00:00", "2026-06-11T12:00:00", 10),
        ("Etc/GMT+12", "Pacific/Kiritimati", "2026-06-11T11:00:00", "2026-06-12T09:59:59", 3),
        ("Etc/GMT+12", "Pacific/Kiritimati", "2026-06-11T11:00:00", "2026-06-12T10:00:00", 10),
    ],
)
def test_a_zone_that_changes_between_two_lives_grants_nothing_twice(
    before: str, after: str, last: str, again: str, left: int
):
    store = Memory()
    life = Life(store, at=seconds_to(last))
    life.spend((msgspec.structs.replace(UTC_DAY, zone=before), 7))
    life.flush()
    second = Life(store, at=seconds_to(again))
    assert second.left(msgspec.structs.replace(UTC_DAY, zone=after)) == left
    second.flush()
    assert Life(store, at=seconds_to(again)).left(msgspec.structs.replace(UTC_DAY, zone=after)) == left


def test_a_period_that_a_reload_prolonged_is_as_long_in_the_next_life():
    store = Memory()
    life = Life(store, at=seconds_to("2026-06-11T21:00:00"))
    life.spend((UTC_DAY, 7))
    assert life.left(BERLIN) == 3
    life.flush()
    assert Life(store, at=seconds_to("2026-06-12T21:59:59")).left(BERLIN) == 3
    assert Life(store, at=seconds_to("2026-06-12T22:00:00")).left(BERLIN) == 10


def test_while_the_store_is_away_counts_go_on_and_one_line_is_logged(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "tidegate.quotas")
    store = Memory()
    life = Life(store)
    life.spend((BERLIN, 1))
    life.flush()
    store.away = True
    for _ in range(5):
        life.spend((BERLIN, 1), (TOKENS, 10))
        life.pass_s(1)
        life.flush()
    assert [line.levelname for line in caplog.records] == ["WARNING"]
    assert life.left(BERLIN) == 4
    assert store.used() == {BERLIN.bucket: 1}
    store.away = False
    life.spend((TOKENS, 1))
    life.flush()
    assert store.used() == {BERLIN.bucket: 6, TOKENS.bucket: 51}
    life.flush()
    assert [line.levelname for line in caplog.records] == ["WARNING", "INFO"]


def test_what_changes_while_it_is_written_is_written_again():
    store = Memory()
    life = Life(store)

    class Slow(Memory):
        async def write(self, counts: Sequence[PeriodCount], *, ended: float) -> None:
            if not self.writes:
                life.spend((BERLIN, 1))
            await super().write(counts, ended=ended)

    slow = Slow()
    life.keep_in(slow)
    life.spend((BERLIN, 1))
    life.flush()
    assert slow.used() == {BERLIN.bucket: 1}
    life.flush()
    assert slow.used() == {BERLIN.bucket: 2}
    slow.writes.clear()
    slow.away = True
    life.spend((BERLIN, 1))
    life.flush()
    slow.away = False
    life.flush()
    assert slow.used() == {BERLIN.bucket: 4}


def test_very_many_are_written_in_parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process, "MOST_AT_ONCE", 10)
    store = Memory()
    life = Life(store)
    limits = [Limit("end_user", str(number), "requests_per_day", 10, per=Per.DAY) for number in range(35)]
    for limit in limits:
        life.spend((limit, 1))
    life.flush()
    assert [len(batch) for batch in store.writes] == [10, 10, 10, 5]
    assert set(store.used()) == {limit.bucket for limit in limits}


def test_the_end_tells_what_could_not_be_written(caplog: pytest.LogCaptureFixture):
    store = Memory()
    life = Life(store)
    life.spend((BERLIN, 1), (TOKENS, 1))
    store.away = True
    asyncio.run(life.kept.close())
    assert "2 limits per day or month" in caplog.text


def test_a_count_that_went_back_to_nothing_is_written_before_it_is_forgotten():
    store = Memory()
    life = Life(store, most_meters=1)
    ticket = life.reserve((TOKENS, 300))
    life.flush()
    life.limiter.settle(ticket, [0])
    other = Limit("team", "red", "tokens_per_day", 1000, per=Per.DAY)
    with pytest.raises(Overloaded):
        life.reserve((other, 1))
    life.flush()
    life.reserve((other, 1))
    assert store.used() == {TOKENS.bucket: 0}


def test_without_a_store_nothing_is_kept_of_what_is_forgotten():
    life = Life(None, most_meters=1)
    for name in range(100):
        limit = Limit("team", str(name), "tokens_per_day", 1000, per=Per.DAY)
        life.limiter.settle(life.reserve((limit, 300)), [0])
        life.flush()
    assert len(life.limiter.unwritten) <= 1


def test_a_limit_that_was_forgotten_on_the_day_before_starts_anew():
    store = Memory()
    life = Life(store, at=seconds_to("2026-06-10T23:00:00"), most_meters=1)
    life.spend((UTC_DAY, 7))
    life.flush()
    life.pass_s(2 * HOUR)
    life.spend((msgspec.structs.replace(UTC_DAY, bucket="another"), 1))
    life.pass_s(24 * HOUR)
    assert life.left(UTC_DAY) == 10


def test_the_table_is_bounded():
    store = Memory()
    life = Life(store, at=seconds_to("2026-06-10T12:00:00"))
    for day in range(30):
        life.spend((Limit("end_user", str(day), "requests_per_day", 10, per=Per.DAY), 1))
        life.flush()
        assert len(store.counts) <= 3
        life.pass_s(24 * HOUR)


def test_what_was_found_of_ended_periods_is_forgotten():
    store = Memory()
    life = Life(store, at=seconds_to("2026-06-10T12:00:00"))
    life.spend((UTC_DAY, 1), (MONTH, 1))
    life.flush()
    second = Life(store, at=seconds_to("2026-06-10T13:00:00"))
    second.flush()
    assert len(second.limiter._kept) == 2
    second.pass_s(3 * 24 * HOUR)
    second.flush()
    assert list(second.limiter._kept) == [MONTH.bucket]


# -- reloads ---------------------------------------------------------------------------------------------------------


def test_a_store_that_is_added_counts_on_top():
    store = Memory()
    first = Life(store)
    first.spend((BERLIN, 3), (TOKENS, 10))
    first.flush()
    life = Life(None)
    life.spend((BERLIN, 2), (MONTH, 5))
    life.keep_in(store)
    life.flush()
    assert (life.left(BERLIN), life.left(TOKENS), life.left(MONTH)) == (5, 990, 4_999_995)
    assert store.used() == {BERLIN.bucket: 5, TOKENS.bucket: 10, MONTH.bucket: 5}


def test_a_store_that_is_removed_and_added_again_counts_once():
    store = Memory()
    life = Life(store)
    life.spend((BERLIN, 3))
    life.flush()
    life.keep_in(None)
    life.spend((BERLIN, 2))
    life.flush()
    assert store.used() == {BERLIN.bucket: 3}
    life.keep_in(store)
    assert life.left(BERLIN) == 5
    life.flush()
    assert Life(store).left(BERLIN) == 5


def test_another_store_gets_all_counts_and_the_larger_one_holds():
    store, copy, fresh = Memory(), Memory(), Memory()
    first = Life(store)
    first.spend((BERLIN, 3), (TOKENS, 10), (MONTH, 7))
    first.flush()
    copy.counts = dict(store.counts)
    copy.counts[MONTH.bucket] = msgspec.structs.replace(copy.counts[MONTH.bucket], used=9)
    life = Life(store)
    life.spend((BERLIN, 2))
    life.keep_in(copy)
    assert life.left(BERLIN) == 5
    life.flush()
    assert copy.used() == {BERLIN.bucket: 5, TOKENS.bucket: 10, MONTH.bucket: 9}
    life.keep_in(fresh)
    life.flush()
    assert fresh.used() == copy.used()
    assert (life.left(TOKENS), life.left(MONTH)) == (990, 4_999_991)


class Lives(RuleBasedStateMachine):
    """Calls, writes, crashes and orderly restarts: no more is lost than what was used since the last write."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Memory()
        self.now = seconds_to("2026-06-10T00:00:00")
        self.zone = "UTC"
        self.life = Life(self.store, at=self.now)
        self.used = self.written = 0

    @property
    def limit(self) -> Limit:
        return msgspec.structs.replace(TOKENS, zone=self.zone)

    @rule(reserved=st.integers(0, 40), used=st.integers(0, 60))
    def call(self, reserved: int, used: int):
        if self.used + reserved > TOKENS.most:
            with pytest.raises(RateLimited):
                self.life.reserve((self.limit, reserved))
            return
        self.life.limiter.settle(self.life.reserve((self.limit, reserved)), [used])
        self.used += used

    @rule()
    def write(self):
        self.life.flush()
        if not self.store.away:
            self.written = self.used

    @rule()
    def leave_or_come_back(self):
        self.store.away = not self.store.away

    @rule()
    def restart(self):
        self.write()
        self.crash()

    @rule()
    def crash(self):
        self.now = self.life.now
        self.life, self.used = Life(self.store, at=self.now), self.written

    @rule(seconds=st.integers(0, 600))
    def wait(self, seconds: int):
        self.life.pass_s(seconds)

    @invariant()
    def the_account_is_right(self):
        assert self.life.left(self.limit) == TOKENS.most - self.used


Lives.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLives = Lives.TestCase
