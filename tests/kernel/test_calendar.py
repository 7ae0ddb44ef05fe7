from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.kernel.calendar import Counter, day_of, month_of

HOUR_S = 3600
ZONES = [
    "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/St_Johns", "America/Havana", "Africa/Cairo",
    "Asia/Beirut", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati", "Africa/Casablanca",
]  # fmt: skip


def at(text: str, zone: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("zone", "noon", "hours"),
    [
        ("Europe/Berlin", "2026-03-28T12:00", 24),
        ("Europe/Berlin", "2026-03-29T12:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00", 25),
        ("America/New_York", "2026-03-08T12:00", 23),
        ("America/New_York", "2026-11-01T12:00", 25),
        ("Australia/Lord_Howe", "2026-10-04T12:00", 23.5),
        ("America/Sao_Paulo", "2018-11-04T12:00", 23),  # has no midnight
        ("Africa/Cairo", "2026-04-24T12:00", 23),  # has no midnight
        ("America/Havana", "2026-11-01T12:00", 25),  # has two midnights
        ("America/St_Johns", "2006-04-02T12:00", 23),  # put forward at 0:01
        ("Pacific/Apia", "2011-12-29T12:00", 24),  # the 30th was skipped
        ("Asia/Kathmandu", "2026-06-01T12:00", 24),
    ],
)
def test_a_day_has_the_hours_of_its_zone(zone: str, noon: str, hours: float):
    start, end = day_of(at(noon, zone), ZoneInfo(zone))
    assert (end - start) / HOUR_S == hours
    tz = ZoneInfo(zone)
    assert datetime.fromtimestamp(start, tz).date() == datetime.fromisoformat(noon).date()
    assert datetime.fromtimestamp(start - 1, tz).date() < datetime.fromisoformat(noon).date()


def test_a_month_begins_in_its_zone():
    start, end = month_of(at("2026-03-15T12:00", "Europe/Berlin"), ZoneInfo("Europe/Berlin"))
    assert start == at("2026-03-01T00:00", "Europe/Berlin")
    assert end == at("2026-04-01T00:00", "Europe/Berlin")
    assert end - start == 31 * 24 * HOUR_S - HOUR_S
    assert month_of(at("2026-12-31T23:59", "Asia/Tokyo"), ZoneInfo("Asia/Tokyo"))[1] == at(
        "2027-01-01T00:00", "Asia/Tokyo"
    )
    assert month_of(at("2028-02-29T23:00", "UTC"), UTC) == (
        at("2028-02-01T00:00", "UTC"),
        at("2028-03-01T00:00", "UTC"),
    )


@given(st.sampled_from(ZONES), st.integers(0, 2_200_000_000))
def test_each_moment_is_in_one_day_and_one_month(zone: str, now: int):
    tz = ZoneInfo(zone)
    for period, longest in ((day_of, 26 * HOUR_S), (month_of, 32 * 24 * HOUR_S)):
        start, end = period(now, tz)
        assert start <= now < end
        assert end - start <= longest
        assert period(start, tz) == period(end - 1, tz) == (start, end)
        assert period(end, tz)[0] == end


def test_every_change_of_the_clocks_of_a_hundred_years_is_covered():
    """Around each change of each zone, the days follow one another without a gap."""
    for zone in sorted(available_timezones())[::12]:
        tz = ZoneInfo(zone)
        now = at("1975-01-01T12:00", "UTC")
        offset = None
        while now < at("2036-01-01T00:00", "UTC"):
            here = datetime.fromtimestamp(now, tz).utcoffset()
            if here != offset:
                near = now - 8 * 24 * HOUR_S
                _, end = day_of(near, tz)
                for _ in range(9):
                    start, after = day_of(end, tz)
                    assert start == end, zone
                    end = after
                offset = here
            now += 7 * 24 * HOUR_S


def test_a_counter_begins_again_at_midnight_of_its_zone():
    tz = ZoneInfo("Europe/Berlin")
    counter = Counter(day_of, tz, at("2026-03-29T01:30", "Europe/Berlin"))
    counter.used = 7
    counter.turn(at("2026-03-29T23:59:59", "Europe/Berlin"))
    assert counter.used == 7
    counter.turn(at("2026-03-30T00:00", "Europe/Berlin"))
    assert counter.used == 0
    assert counter.start_s == at("2026-03-30T00:00", "Europe/Berlin")


def test_a_clock_that_goes_back_grants_nothing():
    counter = Counter(day_of, UTC, at("2026-06-02T00:10", "UTC"))
    counter.used = 7
    counter.turn(at("2026-06-01T23:50", "UTC"))
    assert counter.used == 7
    counter.turn(at("2026-06-02T12:00", "UTC"))
    assert counter.used == 7


@given(st.lists(st.sampled_from(ZONES), min_size=1, max_size=6), st.integers(10**9, 2 * 10**9))
def test_a_change_of_the_zone_never_ends_a_period_early(zones: list[str], now: int):
    counter = Counter(day_of, UTC, now)
    counter.used = 5
    end = counter.end_s
    for zone in zones:
        counter.change_zone(ZoneInfo(zone), now)
        assert counter.end_s >= end
        assert counter.used == 5
        end = counter.end_s
    assert day_of(end, counter.zone)[0] == end


def test_a_fixed_offset_is_a_zone_too():
    zone = timezone(timedelta(hours=-11, minutes=-30))
    start, end = day_of(1_000_000_000, zone)
    assert (end - start, (start - 11.5 * HOUR_S) % (24 * HOUR_S)) == (24 * HOUR_S, 0)


@given(
    st.sampled_from(ZONES), st.sampled_from(ZONES), st.integers(10**9, 2 * 10**9), st.integers(0, 4 * 86_400)
)
def test_a_period_that_is_resumed_ends_as_one_whose_zone_was_changed(
    before: str, after: str, now: int, later: int
):
    for period in (day_of, month_of):
        first = Counter(period, ZoneInfo(before), now)
        changed = Counter(period, ZoneInfo(before), now)
        changed.change_zone(ZoneInfo(after), now)
        resumed = Counter(period, ZoneInfo(after), now + later)
        if resumed.resume(first.start_s, first.end_s, now + later):
            assert (resumed.start_s, resumed.end_s) == (changed.start_s, changed.end_s)
        else:
            assert now + later >= changed.end_s
