"""The order of deployments: tiers, weights, load, and what the header of the reply says of it."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tidegate.dispatch.choice import Choice, tell_route
from tidegate.dispatch.deployments import Deployment
from tidegate.dispatch.seats import Seats
from tidegate.types import Load


def deployment(
    name: str, *, work: int = 0, ready: bool = True, weight: float = 1.0, tier: int = 0
) -> Deployment:
    seats = Seats()
    seats.ready, seats.work = ready, work
    return Deployment(name, None, seats, weight=weight, tier=tier)  # pyright: ignore[reportArgumentType]


def names(choice: Choice, key: int | None = None) -> list[list[str]]:
    return [
        [one.engine_name for one in group.deployments] for group in choice.groups(choice.deployments, key)
    ]


def test_tiers_come_in_order_and_those_that_are_not_ready_last():
    choice = Choice(
        "m",
        [
            deployment("late", tier=2),
            deployment("dead", ready=False),
            deployment("second", tier=1),
            deployment("dead too", ready=False, tier=1),
            deployment("first"),
        ],
    )
    assert names(choice) == [["first"], ["second"], ["late"], ["dead"], ["dead too"]]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 100)), min_size=1, max_size=6),
    st.none() | st.integers(0, 2**32),
)
def test_every_deployment_is_tried_once_in_the_order_of_tiers(kinds, key):
    found = [
        deployment(str(at), ready=ready, tier=tier, work=work) for at, (ready, tier, work) in enumerate(kinds)
    ]
    groups = Choice("m", found, affinity="prefix").groups(found, key, 10)
    flat = [one for group in groups for one in group.deployments]
    assert Counter(one.engine_name for one in flat) == Counter(one.engine_name for one in found)
    assert [(one.out, one.tier) for one in flat] == sorted((one.out, one.tier) for one in found)


def test_weights_decide_while_all_are_idle():
    found = [deployment("small", weight=0.1), deployment("big", weight=0.9)]
    choice = Choice("m", found)
    first = Counter(names(choice)[0][0] for _ in range(100))
    assert abs(first["small"] - 10) <= 1


def test_the_less_loaded_of_two_goes_first_by_its_weight():
    heavy, light = deployment("heavy", work=150, weight=3.0), deployment("light", work=100)
    assert {names(Choice("m", [heavy, light]))[0][0] for _ in range(10)} == {"heavy"}


def test_calls_of_others_that_an_engine_reports_count():
    busy, idle = deployment("busy"), deployment("idle", work=900)
    busy.seats.reported(Load(running=3, waiting=2, kv_usage=0.5))
    choice = Choice("m", [busy, idle])
    assert {names(choice)[0][0] for _ in range(10)} == {"idle"}
    busy.seats.reported(Load())
    assert {names(choice)[0][0] for _ in range(10)} == {"busy"}


def test_calls_with_one_key_go_to_one_deployment_until_it_is_over_its_share():
    found = [deployment(name) for name in "abcd"]
    choice = Choice("m", found, affinity="prefix")
    first, second, *_ = names(choice, 7)[0]
    assert {names(choice, 7)[0][0] for _ in range(20)} == {first}
    next(one for one in found if one.engine_name == first).seats.work = 100
    groups = choice.groups(found, 7, 10)
    assert (groups[0].deployments[0].engine_name, groups[0].why) == (second, "share")


def test_the_header_says_model_reason_tier_and_tries():
    one, two = deployment("one", tier=1), deployment("two", tier=1)
    group = Choice("gpt-*", [one, two], affinity="prefix").groups([one, two], 3, 1)[0]
    first, other = group.deployments
    headers: list[tuple[bytes, bytes]] = []
    tell_route(headers, group, first, 1)
    assert headers == [(b"x-tidegate-route", b"model=gpt-*;why=prefix;tier=1;tries=1")]
    tell_route(headers, group, other, 2)
    assert headers == [(b"x-tidegate-route", b"model=gpt-*;why=retry;tier=1;tries=2")]
    headers.clear()
    tell_route(headers, group, other, 1)
    assert headers == [(b"x-tidegate-route", b"model=gpt-*;why=seat;tier=1;tries=1")]


def test_a_name_with_odd_characters_stands_quoted_in_the_header():
    odd = deployment("x")
    group = Choice("naïve; a=b\n", [odd]).groups([odd])[0]
    headers: list[tuple[bytes, bytes]] = []
    tell_route(headers, group, odd, 1)
    assert headers[0][1] == b"model=na%C3%AFve%3B%20a%3Db%0A;why=only;tier=0;tries=1"
