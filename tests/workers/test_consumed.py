"""What several workers have consumed of their parts of a limit adds up to the limit that was configured."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tidegate.config import Config, parse_text
from tidegate.policy import compile_policies
from tidegate.quotas.consumed import Consumed, consumed
from tidegate.quotas.local import LocalLimiter
from tidegate.types import Caller, Key
from tidegate.workers.consumed import added_up
from tidegate.workers.shares import share

KEY = Key(id="ann", secrets=(), caller=Caller("ann"), policy="own")
NOW_S = 1_780_000_000.0


def config(**limits: float) -> Config:
    tree = {
        "engines": {"e": {"kind": "scripted"}},
        "models": {"*": {"deployments": [{"engine": "e"}]}},
        "quotas": {"divide": True},
        "policies": {"own": {"limits": limits}, "other": {"limits": {"requests_per_day": 999_999}}},
    }
    return parse_text(json.dumps(tree), source="the test")


def of_worker(whole: Config, number: int, of: int, calls: int) -> Consumed:
    """What a worker tells that has admitted so many calls of one key. Each has ten tokens and costs a cent."""
    mine = share(whole, number, of)
    plan = compile_policies(mine, mine.server, rails=False).of(KEY).limits.plan("m", "*")
    limiter = LocalLimiter(lambda: 100.0, lambda: NOW_S)
    for _ in range(calls):
        limiter.reserve("call", plan.limits, plan.of_each((1, 10, 10_000)), until=200.0)
    return consumed(limiter, mine)


def told(whole: Config, calls: Sequence[int | None]) -> dict[str, tuple[int, int, int]]:
    """The limit, what is used and what is left by dimension; a worker with None does not answer."""
    heard = [of_worker(whole, at, len(calls), many) for at, many in enumerate(calls) if many is not None]
    found = added_up(heard, whole, workers=len(calls))
    assert found.silent == calls.count(None)
    return {one.limit.dimension: (one.limit.most, one.used, one.left) for one in found.limits}


def test_the_parts_of_all_workers() -> None:
    limits = {"requests_per_day": 101, "tokens_per_day": 1000, "usd_per_day": 2.5, "concurrent_calls": 7}
    assert told(config(**limits), [2, 1]) == {
        "requests_per_day": (101, 3, 98),
        "tokens_per_day": (1000, 30, 970),
        "usd_per_day": (2_500_000, 30_000, 2_470_000),
        "concurrent_calls": (7, 3, 4),
    }


def test_a_worker_that_has_not_met_a_limit_has_its_part_left() -> None:
    whole = config(requests_per_day=101, requests_per_minute=600, burst_requests=30)
    assert told(whole, [0, 4, 0])["requests_per_day"] == (101, 4, 97)
    assert told(whole, [0, 4, 0])["requests_per_minute"] == (600, 4, 26)


def test_a_worker_that_does_not_answer_is_counted() -> None:
    assert told(config(requests_per_day=100), [3, None])["requests_per_day"] == (100, 3, 97)


def test_the_longest_reset_is_told() -> None:
    whole = config(requests_per_minute=600, burst_requests=300)
    found = added_up([of_worker(whole, at, 3, many) for at, many in enumerate((1, 9, 4))], whole, workers=3)
    assert [round(one.resets_s, 3) for one in found.limits] == [2.7]  # nine calls at 200 a minute


def test_without_limits_nothing_is_configured() -> None:
    plain = parse_text(
        '{"engines": {"e": {"kind": "scripted"}}, "models": {"*": {"deployments": [{"engine": "e"}]}}}',
        source="",
    )
    assert not added_up([Consumed([]), Consumed([])], plain, workers=2).configured


@given(st.integers(8, 10**7), st.integers(1, 8), st.data())
def test_the_configured_limit_comes_back_whichever_workers_have_met_it(
    most: int, workers: int, data: st.DataObject
) -> None:
    calls = data.draw(st.lists(st.integers(0, 1), min_size=workers, max_size=workers).filter(any))
    whole = config(requests_per_day=most)
    assert told(whole, calls)["requests_per_day"] == (most, sum(calls), most - sum(calls))
