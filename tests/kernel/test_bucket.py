from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tidegate.kernel.bucket import MINUTE_US, Bucket, Rate

SECOND_US = 1_000_000
RATES = st.builds(
    Rate, st.integers(1, 10**6), st.integers(1, 10**8), st.sampled_from([SECOND_US, MINUTE_US, 7])
)
STEPS = st.lists(st.tuples(st.integers(0, 10**8), st.integers(0, 10**6)), max_size=40)


def test_the_textbook():
    bucket = Bucket(Rate(capacity=50, amount=10, window_us=SECOND_US))
    assert all(bucket.allow(1, now_us=0) for _ in range(50))
    assert not bucket.allow(1, now_us=0)
    assert bucket.wait_us(1, now_us=0) == 100_000
    assert not bucket.allow(1, now_us=99_999)
    assert bucket.allow(1, now_us=100_000)
    assert not bucket.allow(1, now_us=100_000)
    quiet = 100_000 + 5 * SECOND_US
    assert [bucket.allow(1, now_us=quiet) for _ in range(51)] == [True] * 50 + [False]


def test_a_bucket_admits_its_capacity_at_rates_that_floats_cannot_express():
    for capacity, amount in [(7, 7), (3, 11), (49, 13), (1000, 999_983), (97, 1)]:
        bucket = Bucket(Rate(capacity, amount))
        assert [bucket.allow(1, 5) for _ in range(capacity + 1)] == [True] * capacity + [False]
        assert bucket.standing(5) == (0, -(-capacity * MINUTE_US // amount))


@given(RATES, STEPS)
def test_a_bucket_is_the_textbooks(rate: Rate, steps: list[tuple[int, int]]):
    bucket, level, now = Bucket(rate), Fraction(rate.capacity), 0
    for passed, cost in steps:
        now += passed
        level = min(Fraction(rate.capacity), level + Fraction(passed * rate.amount, rate.window_us))
        assert bucket.standing(now)[0] == level.__floor__()
        # A cost above the capacity is the one addition to the textbook: it fits into a full bucket.
        fits = cost <= level or level == rate.capacity
        assert bucket.allow(cost, now) is fits
        level -= cost if fits else 0


@given(RATES, STEPS, st.integers(1, 10**6))
def test_the_wait_is_exact(rate: Rate, steps: list[tuple[int, int]], cost: int):
    bucket, now = Bucket(rate), 0
    for passed, taken in steps:
        now += passed
        bucket.allow(taken, now)
    wait = bucket.wait_us(cost, now)
    if wait:
        assert not bucket.allow(cost, now + wait - 1)
    assert bucket.allow(cost, now + wait)


@given(RATES, STEPS, st.lists(st.integers(-(10**7), 10**7), max_size=10))
def test_a_settlement_may_leave_debt_and_never_more_than_the_capacity(
    rate: Rate, steps: list[tuple[int, int]], changes: list[int]
):
    bucket, now = Bucket(rate), 0
    for passed, cost in steps:
        now += passed
        bucket.allow(cost, now)
    for change in changes:
        before = bucket.standing(now)[0]
        bucket.settle(change, now)
        assert bucket.standing(now)[0] == min(rate.capacity, before - change)
    left, reset = bucket.standing(now)
    assert bucket.allow(1, now) is (left >= 1)
    bucket.settle(-1 if left >= 1 else 0, now)
    assert bucket.standing(now + reset) == (rate.capacity, 0)


def test_a_time_before_the_last_one_refills_nothing():
    bucket = Bucket(Rate(10, 60), 10 * SECOND_US)
    assert bucket.allow(10, 10 * SECOND_US)
    assert not bucket.allow(1, 0)
    assert not bucket.allow(1, 11 * SECOND_US - 1)
    assert bucket.allow(1, 11 * SECOND_US)


@given(st.lists(st.tuples(RATES, st.integers(0, 10**8), st.integers(1, 10**6)), min_size=1, max_size=20))
def test_a_changed_rate_grants_no_token(changes: list[tuple[Rate, int, int]]):
    """What is taken never exceeds the largest capacity and what the faster of two rates refills between two uses."""
    first = changes[0][0]
    bucket, now, missing = Bucket(first), 0, Fraction(0)
    before = first
    for rate, passed, cost in changes:
        now += passed
        slower = min(Fraction(r.amount, r.window_us) for r in (rate, before))
        bucket.change_rate(rate, now)
        missing = max(Fraction(0), missing - slower * passed)
        fits = missing == 0 or missing + cost <= rate.capacity
        left = bucket.standing(now)[0]
        assert left <= rate.capacity - missing
        if bucket.allow(cost, now):
            assert fits
            missing += cost
        before = rate


def test_changes_to_and_fro_grant_nothing():
    small, large = Rate(10, 60), Rate(100, 600)
    bucket = Bucket(large)
    assert bucket.allow(100, 0)
    for _ in range(50):
        bucket.change_rate(small, 0)
        assert bucket.standing(0)[0] == -90
        bucket.change_rate(large, 0)
        assert bucket.standing(0)[0] == 0
    bucket.change_rate(small, 10 * SECOND_US)
    assert bucket.standing(10 * SECOND_US)[0] == -80  # at one a second, the slower rate
