"""What keeps the limiter right: huge amounts, failures halfway, calls of older snapshots, and very many end users."""

from __future__ import annotations

from itertools import cycle

import msgspec
import pytest
from quota_world import World, minute

from tidegate.config import LimitsConfig, PolicyConfig
from tidegate.errors import BadRequest, GatewayError, Overloaded, RateLimited
from tidegate.policy import Policies, Policy, Sections
from tidegate.quotas.lines import Lines
from tidegate.quotas.meters import MOST_AMOUNT
from tidegate.quotas.tally import Tally
from tidegate.types import Caller, Key, Limit, Per

DAY = Limit("key", "x", "tokens_per_day", 1000, per=Per.DAY)
MONTH = Limit("key", "x", "usd_per_month", 5_000_000, per=Per.MONTH, money=True)
CALLS = Limit("key", "x", "concurrent_calls", 2, per=Per.CALL)
KINDS = [minute("key", 600), minute("key", 600, 60), DAY, MONTH, CALLS]
HUGE = [2**53 + 1, 2**63, 10**30, 10**309, 10**5000]


def counted_only(limit: Limit) -> Limit:
    return msgspec.structs.replace(limit, enforce=False)


# --------------------------------------------------------------------------------------------------------- huge amounts


@pytest.mark.parametrize("amount", HUGE, ids=["53 bits", "63 bits", "e30", "e309", "e5000"])
@pytest.mark.parametrize("limit", KINDS, ids=["minute", "burst", "day", "money", "gauge"])
def test_a_huge_amount_is_counted_and_given_back(limit: Limit, amount: int):
    world, shadow = World(), counted_only(limit)
    world.reserve((shadow, 1))
    ticket = world.reserve((shadow, amount))
    assert world.used() == {shadow.bucket: 1 + MOST_AMOUNT}
    assert ticket.over == (shadow,)
    assert world.limiter.resets_s(shadow) >= 0
    assert list(Tally().metrics(world.limiter, Lines()))
    world.limiter.settle(ticket, [1])
    assert world.used() == {shadow.bucket: 1 if limit.per is Per.CALL else 2}


@pytest.mark.parametrize("amount", HUGE, ids=["53 bits", "63 bits", "e30", "e309", "e5000"])
@pytest.mark.parametrize("limit", KINDS, ids=["minute", "burst", "day", "money", "gauge"])
def test_a_huge_amount_is_refused_in_few_words(limit: Limit, amount: int):
    world = World()
    world.reserve((limit, 1))
    with pytest.raises((BadRequest, RateLimited)) as raised:
        world.reserve((counted_only(minute("team", 600)), amount), (limit, amount))
    assert len(raised.value.message) < 400
    assert raised.value.headers()
    assert world.used()[limit.bucket] == 1


@pytest.mark.parametrize("used", [2**53 + 1, 10**30, 10**309, -1, -(10**400)])
@pytest.mark.parametrize("limit", KINDS[:4], ids=["minute", "burst", "day", "money"])
def test_a_huge_consumption_is_charged_up_to_a_bound(limit: Limit, used: int):
    world = World()
    ticket = world.reserve((limit, 10))
    world.limiter.settle(ticket, [used])
    assert 0 <= world.used()[limit.bucket] <= 10 + MOST_AMOUNT
    [one] = world.limiter.consumption()
    assert one.resets_s >= 0
    if used > 0:
        with pytest.raises(RateLimited) as raised:
            world.reserve((limit, 1))
        assert raised.value.headers()


def test_a_count_that_has_grown_beyond_all_bounds_can_be_kept():
    world, shadow = World(), counted_only(DAY)
    world.limiter.count_on([])
    for _ in range(1100):
        world.limiter.settle(world.reserve((shadow, 10**30)), [10**30])
    [count] = [one.count for one in world.limiter.take_unwritten(10).values()]
    assert count.used == 2**63 - 1


# ------------------------------------------------------------------------------------------------------ failures halfway


@pytest.mark.parametrize("method", ["take", "charge", "standing"])
@pytest.mark.parametrize("limit", KINDS, ids=["minute", "burst", "day", "money", "gauge"])
def test_whatever_fails_in_a_reservation_charges_nothing(limit: Limit, method: str):
    class Failing:
        """The meter of the limit, of which one method fails once when a call is reserved."""

        def __init__(self, one: object) -> None:
            self.one = one
            self.armed = True

        def __getattr__(self, name: str) -> object:
            if name == method and self.armed:
                self.armed = False
                raise ArithmeticError(name)
            return getattr(self.one, name)

        def __setattr__(self, name: str, value: object) -> None:
            if name in ("one", "armed"):
                object.__setattr__(self, name, value)
            else:
                setattr(self.one, name, value)

    world, shadow, other = World(), counted_only(limit), minute("team", 6000)
    world.reserve((other, 1), (shadow, 1))
    meters = world.limiter._meters
    meters[shadow.bucket] = Failing(meters[shadow.bucket])  # type: ignore[assignment]
    with pytest.raises(ArithmeticError):
        world.reserve((other, 10), (shadow, 10_000_000))
    assert world.used() == {other.bucket: 1, shadow.bucket: 1}
    assert meters[shadow.bucket].held == meters[other.bucket].held == 1


def test_amounts_that_do_not_match_the_limits_charge_nothing():
    world, limit = World(), minute("key", 600)
    for amounts in ([], [1], [1, 2, 3]):
        with pytest.raises(ValueError, match="zip"):
            world.limiter.reserve("call", (limit, DAY), amounts, until=1e9)
    with pytest.raises(OverflowError):
        world.limiter.reserve("call", (limit, DAY), [1, 1], until=float("inf"))
    assert set(world.used().values()) <= {0}


# ---------------------------------------------------------------------------------------------- calls of older snapshots


def generation(limit: Limit, number: int, **changes: object) -> Limit:
    return msgspec.structs.replace(limit, generation=(number, 0), **changes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"zone": "UTC"}, {"zone": "Asia/Tokyo"}),
        ({"zone": "Asia/Tokyo"}, {"zone": "UTC"}),
        ({"zone": "America/New_York"}, {"zone": "Pacific/Auckland"}),
    ],
)
def test_calls_of_an_older_snapshot_do_not_move_the_end_of_a_day(old: dict[str, str], new: dict[str, str]):
    world = World()
    before, after = generation(DAY, 1, **old), generation(DAY, 2, **new)
    ends: set[int] = set()
    world.reserve((before, 1))
    world.reserve((after, 1))
    for limit in [before, after] * 20:
        world.reserve((limit, 1))
        ends.add(round(world.limiter.resets_s(limit)))
    [end_s] = ends
    assert end_s <= 48 * 3600
    assert world.used() == {DAY.bucket: 42}


@pytest.mark.parametrize("order", [[1, 2, 1, 2], [2, 1, 2, 1], [1, 2, 1, 1], [2, 1, 1, 1]])
def test_calls_of_an_older_snapshot_get_the_newer_rate(order: list[int]):
    world = World()
    old, new = generation(minute("key", 60, 6), 1), generation(minute("key", 6, 1), 2)
    for number in order:
        try_one(world, old if number == 1 else new)
    told = list[str | None]()
    for _ in range(60):
        world.pass_s(1)
        told.append(try_one(world, old))
    assert told.count(None) <= 6
    assert all("is 6. " in one for one in told if one is not None)


def try_one(world: World, limit: Limit) -> str | None:
    """Return what a refused call is told, or None for one that fits."""
    try:
        world.reserve((limit, 1))
    except RateLimited as error:
        return error.message
    return None


@pytest.mark.parametrize("limit", KINDS, ids=["minute", "burst", "day", "money", "gauge"])
def test_calls_of_an_older_snapshot_meet_what_the_newer_one_enforces(limit: Limit):
    world = World()
    old, new = generation(limit, 1, enforce=False), generation(limit, 2, most=1)
    world.limiter.settle(world.reserve((new, 0)), [0])
    for amount in (2, 10_000_000):
        with pytest.raises(GatewayError):
            world.reserve((old, amount))
    world.limiter.settle(world.reserve((old, 1)), [0])
    # And the other way round:
    old, new = generation(limit, 3, most=1), generation(limit, 4, enforce=False)
    world.limiter.settle(world.reserve((new, 0)), [0])
    world.limiter.settle(world.reserve((old, 2)), [0])
    assert set(world.used().values()) == {0}


# ------------------------------------------------------------------------------------ how limits get their generation


def policies(number: int, most: int = 60) -> Policies:
    sections = {
        name: PolicyConfig(
            limits=LimitsConfig(requests_per_minute=most * times),
            end_user_limits=LimitsConfig(requests_per_day=most * times),
        )
        for name, times in (("default", 1), ("a", 2), ("b", 3))
    }
    return Policies({name: Policy(name) for name in sections}, sections=Sections(sections, generation=number))


def key(policy: str, name: str = "ann") -> Key:
    return Key(id=name, secrets=(), caller=Caller(key=name), policy=policy)


def test_a_policy_that_changes_in_the_store_changes_the_limits_at_once():
    world, all_of_them = World(), policies(1)
    mosts: list[int] = []
    plans = [all_of_them.of(key(policy)).limits.plan("m", "m", "eve") for policy in "abab"]
    for plan in [*plans, plans[0], plans[1], plans[3]]:
        ticket = world.limiter.reserve("call", plan.limits, [0, 0], until=1e9)
        world.limiter.settle(ticket, [0, 0])
        mosts.append(max(one.limit.most for one in world.limiter.consumption("key")))
    assert [plan.limits[0].most for plan in plans] == [120, 180, 120, 180]
    assert [plan.limits[1].most for plan in plans] == [120, 180, 120, 180]
    assert mosts == [120, 180, 120, 180, 180, 180, 180]


def test_a_key_that_is_first_seen_by_an_older_snapshot_after_a_newer_one_is_there():
    world, old, new = World(), policies(1, 60), policies(2, 6)
    for order in ((new, old), (old, new), (new, old, new, old)):
        for each in order:
            limits = each.of(key("a")).limits.plan("m", "m", "eve").limits
            world.limiter.settle(world.limiter.reserve("call", limits, [0, 0], until=1e9), [0, 0])
    assert {one.limit.most for one in world.limiter.consumption()} == {12}


def test_callers_share_the_limits_of_a_tenant_as_objects():
    one = policies(1)
    first, second = (one.of(msgspec.structs.replace(key("a"))).limits.general for _ in range(2))
    assert first.limits[0] is second.limits[0]


# --------------------------------------------------------------------------------------------------------- end users


def end_user(key: str, number: int) -> Limit:
    return Limit("end_user", f"{key}/u{number}", "requests_per_day", 100, per=Per.DAY, within=key)


def spend(world: World, limit: Limit) -> None:
    world.limiter.settle(world.reserve((limit, 1)), [1])


def test_one_key_does_not_take_the_room_for_end_users_of_other_keys():
    world = World(most_meters=100, most_of_a_key=20)
    for number in range(20):
        spend(world, end_user("ann", number))
    for number in range(20, 200):
        with pytest.raises(
            Overloaded, match=r"20 limits of end users.* Send fewer different values"
        ) as raised:
            world.reserve((end_user("ann", number), 1))
        assert raised.value.param == "user"
    spend(world, end_user("ann", 5))  # one that is counted already
    for name in ("bob", "eve", "mal"):
        for number in range(20):
            spend(world, end_user(name, number))
    assert sum(world.used("end_user").values()) == 81
    world.pass_s(24 * 3600)
    for number in range(200):
        world.limiter.settle(world.reserve((end_user("ann", number), 1)), [0])


def test_a_refused_end_user_is_charged_nowhere_and_other_limits_go_on():
    world, limit = World(most_of_a_key=2), minute("key", 600)
    for number in range(2):
        world.reserve((limit, 10), (end_user("ann", number), 1))
    with pytest.raises(Overloaded):
        world.reserve((limit, 10), (end_user("ann", 2), 1))
    assert world.used("key") == {limit.bucket: 20}
    world.reserve((limit, 10))


def test_room_of_the_whole_level_is_found_among_the_end_users_of_other_keys():
    world = World(most_meters=50, most_of_a_key=20)
    for name in ("a", "b", "c"):
        for number in range(16):
            spend(world, end_user(name, number))
    for number in range(2):
        spend(world, end_user("d", number))
    with pytest.raises(Overloaded, match="50"):
        world.reserve((end_user("e", 0), 1))
    assert len(world.used("end_user")) == 50
    world.pass_s(24 * 3600)
    for name in cycle("efg"):
        world.reserve((end_user(name, len(world.used("end_user"))), 1))
        if name == "g":
            break
    assert sum(world.used("end_user").values()) == 3
    assert len(world.limiter._levels["end_user"].groups) <= 7


def test_keys_whose_end_users_have_gone_leave_nothing():
    world = World(most_meters=10, most_of_a_key=4)
    for number in range(500):
        world.limiter.settle(world.reserve((end_user(f"k{number}", 0), 1)), [0])
    level = world.limiter._levels["end_user"]
    assert level.size == sum(map(len, level.groups.values())) <= 10
    assert all(level.groups.values())
