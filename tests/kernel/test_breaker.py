"""The breaker: when it opens, that only one call probes, that it closes again; the budget: never more than it allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.kernel.breaker import CLOSED, HALF_OPEN, OPEN, Breaker, BreakerRules
from tidegate.kernel.retrybudget import FIRST, SHARE, RetryBudget

RULES = BreakerRules(in_a_row=100)


def call(breaker: Breaker, now: float, *, ok: bool, slow: bool = False) -> None:
    probe = breaker.begins(now)
    if ok:
        breaker.succeeded(now, probe=probe, slow=slow)
    else:
        breaker.failed(now, probe=probe)


def opened(rules: BreakerRules = RULES, now: float = 0.0) -> Breaker:
    breaker = Breaker(rules)
    while breaker.state(now) == CLOSED:
        call(breaker, now, ok=False)
    return breaker


def test_a_few_calls_say_nothing() -> None:
    breaker = Breaker(RULES)
    for _ in range(RULES.min_calls - 1):
        call(breaker, 0.0, ok=False)
    assert breaker.allows(0.0)
    call(breaker, 0.0, ok=False)
    assert breaker.state(0.0) == OPEN
    assert not breaker.allows(0.0)


@pytest.mark.parametrize(("bad", "state"), [(49, CLOSED), (50, OPEN), (51, OPEN)])
def test_half_of_the_calls_may_not_fail(bad: int, state: str) -> None:
    breaker = Breaker(RULES)
    for number in range(100):
        call(breaker, number / 10, ok=number < 100 - bad)
    assert breaker.state(10.0) == state


def test_failures_in_a_row_open_it_before_there_are_many_calls() -> None:
    breaker = Breaker()
    for _ in range(1000):
        call(breaker, 0.0, ok=True)
    for _ in range(breaker.rules.in_a_row):
        assert breaker.state(1.0) == CLOSED
        call(breaker, 1.0, ok=False)
    assert breaker.state(1.0) == OPEN


def test_calls_that_are_slow_to_begin_open_it() -> None:
    breaker = Breaker(RULES)
    for number in range(100):
        call(breaker, number / 10, ok=True, slow=True)
    assert breaker.state(10.0) != CLOSED


def test_what_is_long_ago_does_not_count() -> None:
    breaker = Breaker(RULES)
    for _ in range(RULES.min_calls - 1):
        call(breaker, 0.0, ok=False)
    later = RULES.window_s + 2
    call(breaker, later, ok=False)
    assert breaker.state(later) == CLOSED


def test_one_call_probes_and_no_second_one() -> None:
    breaker = opened()
    after = RULES.open_s
    assert not breaker.allows(after - 0.1)
    assert breaker.state(after) == HALF_OPEN
    assert breaker.allows(after)
    assert breaker.begins(after)
    assert not any(breaker.allows(after + n) or breaker.begins(after + n) for n in range(50))
    breaker.succeeded(after + 50, probe=True)
    assert breaker.state(after + 50) == CLOSED


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_bound() -> None:
    breaker, now, times = opened(), 0.0, list[float]()
    for _ in range(8):
        began = now
        while not breaker.allows(now):
            now += 0.5
        times.append(now - began)
        call(breaker, now, ok=False)
    assert times == [5, 10, 20, 40, 80, 120, 120, 120]


def test_a_probe_whose_client_leaves_lets_another_one_probe() -> None:
    breaker, now = opened(), RULES.open_s
    assert breaker.begins(now)
    breaker.abandoned(probe=True)
    assert breaker.allows(now)
    assert breaker.begins(now)


def test_calls_from_before_it_opened_do_not_close_it() -> None:
    breaker = Breaker(RULES)
    early = breaker.begins(0.0)
    for _ in range(RULES.min_calls):
        call(breaker, 0.0, ok=False)
    breaker.succeeded(1.0, probe=early)
    assert breaker.state(1.0) == OPEN
    breaker.failed(2.0, probe=early)
    assert breaker.state(RULES.open_s) == HALF_OPEN


@given(
    st.lists(
        st.tuples(st.sampled_from(["begin", "ok", "slow", "fail", "leave"]), st.floats(0, 20)), max_size=200
    )
)
def test_there_is_never_more_than_one_probe(steps: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(BreakerRules(min_calls=2, in_a_row=2)), 0.0
    running = list[bool]()
    for step, passed in steps:
        now += passed
        if step == "begin":
            allowed, state = breaker.allows(now), breaker.state(now)
            running.append(breaker.begins(now))
            assert running[-1] == (allowed and state == HALF_OPEN)
        elif running:
            probe = running.pop(0)
            if step == "leave":
                breaker.abandoned(probe=probe)
            elif step == "fail":
                breaker.failed(now, probe=probe)
            else:
                breaker.succeeded(now, probe=probe, slow=step == "slow")
        assert sum(running) <= 1
        assert breaker.allows(now) or breaker.state(now) == OPEN or any(running)


@given(st.lists(st.booleans(), max_size=3000))
def test_retries_are_a_tenth_of_the_requests_and_a_few(steps: list[bool]) -> None:
    budget, requests, retries = RetryBudget(), 0, 0
    for request in steps:
        if request:
            budget.requested()
            requests += 1
        else:
            retries += budget.take()
        assert retries <= FIRST + SHARE * requests + 1e-6


def test_a_quiet_time_saves_up_no_storm() -> None:
    budget = RetryBudget()
    for _ in range(100_000):
        budget.requested()
    assert sum(budget.take() for _ in range(10_000)) <= 101
