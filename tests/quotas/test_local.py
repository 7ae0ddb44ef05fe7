"""The limiter of one process: what it reserves, refuses, gives back, forgets and shows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from quota_world import START, World, minute

from tidegate.errors import BadRequest, BudgetExceeded, GatewayError, Overloaded, RateLimited
from tidegate.quotas.levels import default_burst
from tidegate.types import Limit, Per

LEVELS = ["key", "user", "team", "organisation", "model", "pair", "end_user"]
DAY = Limit("key", "x", "requests_per_day", 3, per=Per.DAY, zone="Europe/Berlin")
USD = Limit("team", "blue", "usd_per_month", 5_000_000, per=Per.MONTH, money=True)
CALLS = Limit("key", "x", "concurrent_calls", 2, per=Per.CALL)


def refused(act: Callable[[], object], kind: type[GatewayError] = RateLimited) -> RateLimited:
    with pytest.raises(kind) as raised:
        act()
    error = raised.value
    assert isinstance(error, RateLimited) or kind is not RateLimited
    return error  # type: ignore[return-value]


@pytest.mark.parametrize("levels", [1, 2, 5, 7])
@pytest.mark.parametrize("tight", range(7))
def test_a_call_is_reserved_at_all_levels_or_at_none(levels: int, tight: int):
    world, tight = World(), tight % levels
    limits = [minute(level, 600 if at == tight else 60_000) for at, level in enumerate(LEVELS[:levels])]
    world.reserve(*[(limit, 400) for limit in limits])
    error = refused(lambda: world.reserve(*[(limit, 300) for limit in limits]))
    assert error.at == LEVELS[tight]
    assert error.dimension == "tokens_per_minute"
    assert error.param == f"{LEVELS[tight]}.tokens_per_minute"
    assert error.left == tuple(limit.most - 400 for limit in limits)
    assert set(world.used().values()) == {400}
    world.reserve(*[(limit, 200) for limit in limits])


def test_the_retry_after_is_exact_and_that_of_the_limit_that_takes_longest():
    world = World()
    quick, slow = minute("key", 6000, 100), minute("team", 600, 100)
    world.reserve((quick, 100), (slow, 100))
    error = refused(lambda: world.reserve((quick, 30), (slow, 7)))
    assert (error.at, error.retry_after_s) == ("team", 0.7)
    world.pass_s(0.699_999)
    assert refused(lambda: world.reserve((quick, 30), (slow, 7))).retry_after_s == 0.000_001
    world.pass_s(0.000_001)
    world.reserve((quick, 30), (slow, 7))


def test_only_what_exceeds_the_minute_limit_can_never_fit():
    world, limit = World(), minute("key", 6000, 600)
    error = refused(lambda: world.reserve((minute("team", 9000), 1), (limit, 6001)), BadRequest)
    assert error.status == 400
    assert "6001" in error.message
    assert "6000" in error.message
    assert error.param == "key.tokens_per_minute"
    assert set(world.used().values()) == {0}
    # A call above the burst waits for a full bucket and leaves a debt.
    assert world.standing(world.reserve((limit, 6000))) == [(-5400, 60.0)]
    assert refused(lambda: world.reserve((limit, 601))).retry_after_s == 60.0
    assert refused(lambda: world.reserve((limit, 600))).retry_after_s == 60.0
    assert refused(lambda: world.reserve((limit, 1))).retry_after_s == 54.01
    # What can never fit is said even where another limit refuses now.
    assert refused(lambda: world.reserve((limit, 1), (minute("team", 9000), 9001)), BadRequest).status == 400


def test_the_default_burst():
    assert default_burst(6000, 0) == 600
    assert default_burst(6000, 4096) == 4096
    assert default_burst(6000, 9000) == 6000
    assert default_burst(5, 0) == 1


def test_a_settlement_gives_back_or_leaves_debt():
    world, limit = World(), minute("key", 600)
    first, second = world.reserve((limit, 300)), world.reserve((limit, 300))
    world.limiter.settle(first, [100])
    assert world.used() == {limit.bucket: 400}
    world.limiter.settle(second, [500])
    assert world.used() == {limit.bucket: 600}
    world.limiter.settle(world.reserve((limit, 0)), [50])
    assert world.used() == {limit.bucket: 650}
    assert refused(lambda: world.reserve((limit, 1))).retry_after_s == 5.1
    world.pass_s(1000)
    late = world.reserve((limit, 600))
    world.pass_s(59)
    world.limiter.settle(late, [0])
    assert world.used() == {limit.bucket: 0}
    assert world.standing(world.reserve((limit, 1))) == [(599, 0.1)]


def test_a_reservation_ends_once():
    world, limit = World(), minute("key", 600)
    for ends in (["settle", "settle"], ["settle", "abandon"], ["abandon", "settle"], ["abandon", "abandon"]):
        ticket = world.reserve((limit, 100), (CALLS, 1))
        expected = None
        for end in ends:
            if end == "settle":
                world.limiter.settle(ticket, [60, 1])
            else:
                world.limiter.abandon(ticket)
            expected = expected or world.used()
            assert world.used() == expected
        assert world.used()[CALLS.bucket] == 0
        world.pass_s(60)


@pytest.mark.parametrize("used", [[], [1], [1, 1, 1, 1], [-5, -5], (0, 0)])
def test_a_settlement_never_raises(used: list[int]):
    world, limit = World(), minute("key", 600)
    ticket = world.reserve((limit, 100), (CALLS, 1))
    world.limiter.settle(ticket, used)
    assert 0 <= world.used()[limit.bucket] <= 100
    assert world.used()[CALLS.bucket] == 0
    assert all(one.left <= one.limit.most for one in world.limiter.consumption())


def test_concurrent_calls():
    world = World()
    tickets = [world.reserve((CALLS, 1)) for _ in range(2)]
    error = refused(lambda: world.reserve((CALLS, 1)))
    assert (error.at, error.dimension, error.retry_after_s) == ("key", "concurrent_calls", None)
    assert error.retryable
    world.limiter.settle(tickets[0], [7])
    world.reserve((CALLS, 1))
    refused(lambda: world.reserve((CALLS, 1)))


def test_a_reservation_whose_holder_died_expires():
    world, limit = World(), minute("key", 600)
    day = msgspec.structs.replace(DAY, most=1000)
    dead = world.reserve((CALLS, 1), (limit, 300), (day, 10), until=world.now + 10)
    world.reserve((CALLS, 1), until=world.now + 1000)
    world.pass_s(9.5)
    refused(lambda: world.reserve((CALLS, 1)))
    world.pass_s(1.5)
    world.reserve((CALLS, 1), until=world.now + 1000)
    # Nobody knows what it used, so the reserved amounts stay charged.
    assert world.used()[day.bucket] == 10
    assert world.used()[limit.bucket] == 300 - 110
    world.limiter.settle(dead, [1, 0, 0])
    assert world.used()[day.bucket] == 10
    assert world.used()[CALLS.bucket] == 2


def test_days_and_months_are_counted_in_their_zone():
    world = World()
    for _ in range(3):
        world.limiter.settle(world.reserve((DAY, 1), (USD, 1_000_000)), [1, 900_000])
    error = refused(lambda: world.reserve((DAY, 1)))
    wall = START + world.now
    midnight = datetime.fromtimestamp(wall + error.retry_after_s, ZoneInfo("Europe/Berlin"))
    assert (midnight.hour, midnight.minute, midnight.second, midnight.microsecond) == (0, 0, 0, 0)
    assert 0 < error.retry_after_s <= 24 * 3600
    assert not error.retryable
    assert error.code == "rate_limit_exceeded"
    world.pass_s(error.retry_after_s)
    assert world.reserve((DAY, 1)).left == (2,)
    assert world.used()[USD.bucket] == 2_700_000


def test_a_budget_of_money_is_a_hard_cap():
    world = World()
    world.reserve((USD, 4_500_000))
    error = refused(lambda: world.reserve((USD, 600_000)), BudgetExceeded)
    assert (error.status, error.code, error.retryable) == (429, "insufficient_quota", False)
    assert (b"x-should-retry", b"false") in error.headers()
    assert "5 USD" in error.message
    assert "0.6 USD" in error.message
    # Larger than the whole budget: still the budget, not a mistake of the request.
    assert refused(lambda: world.reserve((USD, 5_000_001)), BudgetExceeded).dimension == "usd_per_month"
    # To spend exactly what is left is allowed.
    assert world.reserve((USD, 500_000)).left == (0,)


def test_what_was_reserved_before_midnight_is_settled_in_that_day():
    world = World()
    limit = Limit("key", "x", "tokens_per_day", 1000, per=Per.DAY)
    ticket = world.reserve((limit, 900))
    world.pass_s(24 * 3600)
    other = world.reserve((limit, 300))
    world.limiter.settle(ticket, [100])
    assert world.used() == {limit.bucket: 300}
    world.limiter.settle(other, [350])
    assert world.used() == {limit.bucket: 350}


@pytest.mark.parametrize("ahead_s", [24 * 3600, 40 * 24 * 3600])
def test_a_wall_clock_that_goes_back_changes_no_reservation(ahead_s: float):
    world = World()
    limit = Limit("key", "x", "tokens_per_day", 1000, per=Per.DAY)
    before = world.reserve((limit, 100))
    world.pass_s(1)
    world.wall_ahead_s = ahead_s
    ahead = world.reserve((limit, 200))
    world.wall_ahead_s = 0
    world.pass_s(1)
    after = world.reserve((limit, 300))
    assert world.used() == {limit.bucket: 500}
    world.limiter.settle(before, [0])  # of the day that ended when the clock was ahead
    assert world.used() == {limit.bucket: 500}
    world.limiter.settle(ahead, [150])
    world.limiter.settle(after, [310])
    assert world.used() == {limit.bucket: 460}


@pytest.mark.parametrize("offset_s", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_a_reservation_belongs_to_the_day_in_which_it_was_made(offset_s: float):
    world, limit = World(), Limit("key", "x", "requests_per_day", 10, per=Per.DAY)
    world.reserve((limit, 1))
    midnight_s = world.limiter.resets_s(limit)
    world.pass_s(midnight_s + offset_s)
    ticket = world.reserve((limit, 4))
    world.pass_s(2)
    world.limiter.settle(ticket, [1])
    assert world.used() == {limit.bucket: 0 if offset_s < 0 else 1}


def test_resets_are_told_for_a_limit_that_is_known():
    world, limit = World(), minute("key", 600)
    assert world.limiter.resets_s(limit) == 0.0
    ticket = world.reserve((limit, 300), (CALLS, 1))
    assert [world.limiter.resets_s(limit) for limit in ticket.limits] == [30.0, 0.0]
    world.pass_s(10)
    assert world.limiter.resets_s(limit) == 20.0
    world.limiter.settle(ticket, [600, 1])
    assert world.limiter.resets_s(limit) == 50.0
    assert ticket.left == (300, 1)


def test_the_textbook_case():
    """A capacity of 50, and 10 a second: the example of the page about quotas."""
    world, limit = World(), minute("key", 600, 50, "requests")
    for _ in range(50):
        world.reserve((limit, 1))
    assert refused(lambda: world.reserve((limit, 1))).retry_after_s == 0.1
    world.pass_s(0.1)
    world.reserve((limit, 1))  # the 51st
    refused(lambda: world.reserve((limit, 1)))
    world.pass_s(5)
    for _ in range(50):
        world.reserve((limit, 1))
    refused(lambda: world.reserve((limit, 1)))


def test_a_call_that_finds_no_room_is_charged_nowhere():
    world = World(most_meters=3)
    key, team = minute("key", 600), minute("team", 600)
    held = [world.reserve((limit, 600)) for limit in users(3)]
    with pytest.raises(Overloaded):
        world.reserve((key, 100), (CALLS, 1), (team, 100), *[(limit, 1) for limit in users(1, 3)])
    assert (world.used("key"), world.used("team")) == ({key.bucket: 0, CALLS.bucket: 0}, {team.bucket: 0})
    # What can never fit is said even where there is no room for another limit.
    refused(lambda: world.reserve((key, 601), *[(limit, 1) for limit in users(1, 3)]), BadRequest)
    # The refusal of one limit is followed by a limit for which there is no room.
    held.append(world.reserve((CALLS, 2)))
    with pytest.raises(Overloaded):
        world.reserve((key, 100), (CALLS, 1), *[(limit, 1) for limit in users(1, 3)])
    assert world.used("key") == {key.bucket: 0, CALLS.bucket: 2}
    for ticket in held:
        world.limiter.settle(ticket, [0])
    world.reserve((key, 600), (CALLS, 2), *[(limit, 600) for limit in users(1, 3)])


def test_a_reload_grants_no_extra():
    world = World()
    before = [minute("key", 600, 300), msgspec.structs.replace(DAY, most=500), CALLS]
    tickets = [world.reserve(*[(limit, amount) for limit, amount in zip(before, (100, 100, 1), strict=True)])]
    same = [msgspec.structs.replace(limit) for limit in before]
    tickets.append(world.reserve(*zip(same, (100, 100, 1), strict=True)))
    assert tickets[-1].left == (100, 300, 0)
    less = [
        minute("key", 60, 30),
        msgspec.structs.replace(DAY, most=50),
        msgspec.structs.replace(CALLS, most=1),
    ]
    assert refused(lambda: world.reserve(*zip(less, (1, 1, 1), strict=True))).left == (-170, -150, -1)
    more = [minute("key", 6000, 900), msgspec.structs.replace(DAY, most=5000), CALLS]
    refused(lambda: world.reserve(*zip(more, (1, 1, 1), strict=True)))
    assert world.used() == {limit.bucket: used for limit, used in zip(before, (200, 200, 2), strict=True)}
    world.limiter.settle(tickets[0], [0, 0, 0])
    assert world.used() == {limit.bucket: used for limit, used in zip(before, (100, 100, 1), strict=True)}


def test_a_limit_that_is_not_enforced_counts_and_reports():
    world = World()
    shadow = msgspec.structs.replace(minute("team", 100), enforce=False)
    hard = minute("key", 1000)
    assert world.reserve((shadow, 100), (hard, 100)).over == ()
    ticket = world.reserve((shadow, 150), (hard, 150))
    assert [limit.level for limit in ticket.over] == ["team"]
    assert world.used() == {shadow.bucket: 250, hard.bucket: 250}
    refused(lambda: world.reserve((shadow, 900), (hard, 900)))
    assert world.used() == {shadow.bucket: 250, hard.bucket: 250}


def test_two_wants_of_one_limit_are_summed():
    world, limit = World(), minute("key", 600)
    refused(lambda: world.reserve((limit, 400), (limit, 300)))
    assert world.used() == {limit.bucket: 0}
    world.reserve((limit, 300), (limit, 300))
    assert world.used() == {limit.bucket: 600}


# ------------------------------------------------------------------------------------------------------------- bounds


def users(count: int, start: int = 0) -> list[Limit]:
    return [Limit("end_user", f"u{at}", "tokens_per_minute", 600) for at in range(start, start + count)]


def test_idle_limits_are_forgotten():
    world = World(most_meters=50)
    for at, limit in enumerate(users(2000)):
        world.limiter.settle(world.reserve((limit, 10)), [10])
        world.pass_s(1)
        assert len(world.used()) <= 50, at
    assert len(world.used()) < 10


def test_limits_that_are_in_use_are_kept_and_new_ones_refused():
    world = World(most_meters=50)
    held = [world.reserve((limit, 600)) for limit in users(50)]
    with pytest.raises(Overloaded, match="50"):
        world.reserve((minute("key", 600), 1), *[(limit, 1) for limit in users(1, 50)])
    assert world.used("key") == {"key:x/tokens_per_minute": 0}
    assert len(world.used("end_user")) == 50
    world.reserve((minute("key", 600), 1))  # another level has room of its own
    world.pass_s(61)
    with pytest.raises(Overloaded):  # full again, but a settlement may still leave a debt
        world.reserve(*[(limit, 1) for limit in users(1, 50)])
    world.limiter.settle(held[0], [1200])
    assert world.used("end_user")[held[0].limits[0].bucket] == 600
    for ticket in held[1:]:
        world.limiter.settle(ticket, [600])
    world.reserve(*[(limit, 1) for limit in users(1, 50)])
    assert world.used("end_user")[held[0].limits[0].bucket] == 600


def test_a_new_limit_does_not_push_out_an_idle_one_of_the_same_call():
    world = World(most_meters=2)
    one, two, three = users(3)
    world.reserve((one, 0))
    world.pass_s(1)
    ticket = world.reserve((one, 100), (two, 100))
    assert world.used() == {one.bucket: 100, two.bucket: 100}
    world.limiter.settle(ticket, [50, 50])
    assert world.used() == {one.bucket: 50, two.bucket: 50}
    with pytest.raises(Overloaded):
        world.reserve((three, 1))


def test_present_consumption():
    world = World()
    world.reserve((minute("key", 600), 60), (DAY, 2), (CALLS, 1), (USD, 5))
    found = {one.limit.dimension: one for one in world.limiter.consumption()}
    assert {name: (one.used, one.left) for name, one in found.items()} == {
        "tokens_per_minute": (60, 540),
        "requests_per_day": (2, 1),
        "concurrent_calls": (1, 1),
        "usd_per_month": (5, 4_999_995),
    }
    assert found["tokens_per_minute"].resets_s == 6.0
    assert found["requests_per_day"].since <= START + world.now < found["requests_per_day"].since + 24 * 3600
    assert [one.limit.level for one in world.limiter.consumption("team")] == ["team"]
    assert world.limiter.consumption("user") == []
    assert len(world.limiter.consumption(most=2)) == 2
