"""The learned estimate of an answer's tokens: what it converges to, what it shares, and what cannot disturb it."""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.quotas.estimate import OutputEstimate

PAIRS = st.tuples(st.sampled_from(["a", "b", "c", ""]), st.sampled_from(["small", "large", ""]))


def learned(values: list[int], key: str = "key", model: str = "model") -> OutputEstimate:
    estimate = OutputEstimate()
    for value in values:
        estimate.learn(key, model, value)
    return estimate


def test_nothing_is_known_at_first():
    assert OutputEstimate().expect("key", "model") == pytest.approx(1024, abs=1)
    assert OutputEstimate(first=300).expect("key", "model") == pytest.approx(300, abs=1)


@pytest.mark.parametrize(
    ("outcomes", "weights"),
    [
        ([200], [1]),
        ([1], [1]),
        ([50_000], [1]),
        ([10, 1000], [4, 1]),
        ([10, 4000], [9, 1]),
        ([100, 200, 400, 800], [1, 1, 1, 1]),
    ],
)
def test_the_estimates_of_many_calls_add_up_to_what_they_use(outcomes: list[int], weights: list[int]):
    rng, estimate = random.Random(5), OutputEstimate()
    reserved = used = 0
    for at in range(5000):
        tokens = rng.choices(outcomes, weights)[0]
        if at >= 200:
            reserved += estimate.expect("key", "model")
            used += tokens
        estimate.learn("key", "model", tokens)
    assert reserved == pytest.approx(used, rel=0.1) or reserved - used <= 4800  # rounded up in each call


def test_a_cold_start_is_over_within_some_tens_of_calls():
    assert learned([200] * 8).expect("key", "model") < 512
    assert learned([200] * 64).expect("key", "model") < 260
    assert learned([5000] * 8).expect("key", "model") > 3000


@pytest.mark.parametrize(("before", "after"), [(200, 1000), (1000, 200), (100, 8000), (8000, 100), (0, 500)])
def test_a_lasting_change_is_followed(before: int, after: int):
    estimate = learned([before] * 1000)
    for _ in range(160):
        estimate.learn("key", "model", after)
    assert abs(estimate.expect("key", "model") - after) <= 0.06 * abs(before - after) + 1


@pytest.mark.parametrize("odd", [0, -1, -(10**30), 10**6, 10**12, 10**400])
def test_one_odd_figure_disturbs_little(odd: int):
    estimate = learned([200] * 1000)
    estimate.learn("key", "model", odd)
    assert 180 <= estimate.expect("key", "model") <= 320
    for _ in range(100):
        estimate.learn("key", "model", 200)
    assert estimate.expect("key", "model") <= 210


@pytest.mark.parametrize("odd", [0, 10**6, 10**12])
def test_a_hostile_key_does_not_decide_for_others(odd: int):
    estimate = OutputEstimate()
    for at in range(100):
        for _ in range(20):
            estimate.learn(f"key{at}", "model", 200)
    known = estimate.expect("key7", "model")
    for _ in range(10_000):
        estimate.learn("hostile", "model", odd)
    assert estimate.expect("key7", "model") == known
    assert 180 <= estimate.expect("new", "model") <= 600
    assert 180 <= estimate.expect("new", "new") <= 1025  # one model alone has said little about others
    for _ in range(32):
        estimate.learn("new", "model", 200)
    assert 190 <= estimate.expect("new", "model") <= 250


def test_a_new_key_starts_with_what_new_keys_needed_for_the_model():
    estimate = OutputEstimate()
    for at in range(100):
        for _ in range(4):
            estimate.learn(f"key{at}", "short", 50)
            estimate.learn(f"key{at}", "long", 3000)
    assert estimate.expect("new", "short") < 200
    assert estimate.expect("new", "long") > 2000
    assert estimate.expect("key3", "another") == estimate.expect("new", "another")
    estimate.learn("new", "long", 3000)
    assert estimate.expect("new", "long") > 2000
    assert estimate.expect("new", "short") < 200


def test_pairs_are_apart():
    estimate = OutputEstimate()
    for _ in range(300):
        estimate.learn("one", "model", 10)
        estimate.learn("two", "model", 2000)
        estimate.learn("one", "other", 500)
    found = [estimate.expect(*pair) for pair in (("one", "model"), ("two", "model"), ("one", "other"))]
    assert found == [pytest.approx(10, abs=2), pytest.approx(2000, abs=2), pytest.approx(500, abs=2)]


def test_the_pair_that_was_learned_longest_ago_leaves():
    estimate = OutputEstimate(most=3)
    for key in ("a", "b", "c"):
        for _ in range(200):
            estimate.learn(key, "model", 10)
    estimate.learn("a", "model", 10)
    estimate.learn("d", "model", 10)
    assert estimate.expect("b", "model") == estimate.expect("never seen", "model") > 100
    assert estimate.expect("a", "model") == estimate.expect("c", "model") == pytest.approx(10, abs=2)


def test_memory_is_bounded():
    estimate = OutputEstimate(most=50)
    for at in range(2000):
        estimate.learn(f"key{at}", f"model{at}", 10)
        estimate.expect(f"asked{at}", f"asked{at}")
    tables = [value for value in vars(estimate).values() if hasattr(value, "__len__")]
    assert tables
    assert all(len(table) <= 50 for table in tables)
    assert all(sys.getsizeof(table) < 50_000 for table in tables)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(PAIRS, st.integers(-(10**20), 10**20)), max_size=60), st.integers(1, 4))
def test_an_estimate_is_a_sensible_number_whatever_was_learned(answers: list, most: int):
    estimate = OutputEstimate(most=most)
    largest = max([1024, *[tokens for _, tokens in answers]])
    for (key, model), tokens in answers:
        estimate.learn(key, model, tokens)
        assert 1 <= estimate.expect(key, model) <= largest + 1
        assert isinstance(estimate.expect(key, model), int)
