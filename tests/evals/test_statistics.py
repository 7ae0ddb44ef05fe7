"""The statistics of scores, against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.ops.evals.statistics import (
    auc,
    auc_difference,
    mcnemar,
    recall_at,
    recall_difference,
    recalls,
    threshold_at,
    wilson,
)

SCORES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))
MANY = st.lists(SCORES, min_size=1, max_size=40).map(np.array)
SHARES = st.one_of(st.sampled_from([0.0, 0.01, 0.05, 0.29, 0.5, 1.0]), st.floats(0, 1))


@given(MANY, MANY)
def test_the_area_is_the_share_of_pairs_in_order(positives, negatives):
    pairs = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    found = auc(positives, negatives)
    assert found is not None
    assert found.value == pytest.approx(sum(pairs) / len(pairs))
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(MANY, MANY)
def test_turned_round_the_area_is_the_rest(positives, negatives):
    one, other = auc(positives, negatives), auc(negatives, positives)
    assert one is not None
    assert other is not None
    assert one.value + other.value == pytest.approx(1)


@given(MANY, MANY, SHARES)
def test_a_threshold_flags_no_more_negatives_than_allowed_and_is_the_lowest(positives, negatives, target):
    found = threshold_at(negatives, target, positives)
    flagged = negatives > found.below
    assert flagged.mean() <= target
    lower = negatives[negatives <= found.below]
    if len(lower):
        assert (negatives >= lower.max()).mean() > target, "a lower one would flag too many"
    if found.at is None:
        assert found.below == 1
        return
    assert 0 <= found.at <= 1
    assert np.array_equal(negatives >= found.at, flagged)
    assert np.array_equal(positives >= found.at, positives > found.below)


@given(MANY, MANY, SHARES)
def test_recall_at_a_share_is_that_of_its_threshold(positives, negatives, target):
    found = recall_at(positives, negatives, target)
    assert found is not None
    assert found.value == pytest.approx((positives > threshold_at(negatives, target).below).mean())
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert recalls(positives, negatives, [target]) == pytest.approx([found.value])


@given(MANY, MANY)
def test_a_curve_never_falls(positives, negatives):
    found = recalls(positives, negatives, [0.0, 0.01, 0.1, 0.3, 0.9, 1.0])
    assert found == sorted(found)
    assert found[-1] == 1


@given(st.integers(0, 500), st.integers(1, 500))
def test_an_interval_contains_its_share_and_shrinks_with_more_texts(hits, of):
    hits = min(hits, of)
    few, many = wilson(hits, of), wilson(hits * 10, of * 10)
    assert few is not None
    assert many is not None
    assert 0 <= few.low <= few.value <= few.high <= 1
    assert many.high - many.low < few.high - few.low


def test_published_examples():
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3.
    found = wilson(81, 263)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    found = wilson(0, 20)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0, 0.1611), abs=5e-5)
    # All 1 to 10 on one side: 2 · (1/2)^10.
    assert mcnemar(10, 0) == pytest.approx(2 / 1024)
    assert mcnemar(6, 16) == pytest.approx(2 * sum(math.comb(22, i) for i in range(7)) / 2**22)


def test_nothing_is_no_figure():
    none, some = np.array([]), np.array([0.5])
    assert wilson(0, 0) is None
    assert auc(none, some) is auc(some, none) is None
    assert recall_at(none, some, 0.1) is recall_at(some, none, 0.1) is None


@given(st.integers(0, 60), st.integers(0, 60))
def test_uneven_counts_are_less_likely(one, other):
    assert mcnemar(one, other) == mcnemar(other, one)
    assert 0 < mcnemar(one, other) <= 1
    if one >= other:
        assert mcnemar(one + 1, other) <= mcnemar(one, other) + 1e-9 or one == other


@given(MANY, MANY)
def test_a_plan_does_not_differ_from_itself(positives, negatives):
    same = (positives, negatives)
    found = auc_difference(same, same)
    assert found is not None
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_what_is_better_is_told():
    draw = np.random.default_rng(1)
    negatives, positives = draw.normal(0.3, 0.1, 400), draw.normal(0.5, 0.1, 300)
    worse = (positives - 0.1, negatives)
    area, recall = (
        auc_difference(worse, (positives, negatives)),
        recall_difference(worse, (positives, negatives), 0.05),
    )
    assert area is not None
    assert recall is not None
    assert area.low > 0
    assert area.p < 0.001
    assert recall.low > 0
    assert recall.p < 0.01


@pytest.mark.parametrize("of", ["auc", "recall"])
def test_intervals_contain_the_truth_about_as_often_as_they_say(of):
    draw = np.random.default_rng(7)
    shift = 1.5
    truth = 0.5 * math.erfc(-shift / 2)  # two normal distributions of deviation 1, `shift` apart
    at_five = 0.5 * math.erfc((1.6448536 - shift) / math.sqrt(2))
    inside = 0
    for _ in range(200):
        positives, negatives = draw.normal(shift, 1, 80), draw.normal(0, 1, 120)
        found = auc(positives, negatives) if of == "auc" else recall_at(positives, negatives, 0.05)
        assert found is not None
        inside += found.low <= (truth if of == "auc" else at_five) <= found.high
    assert inside >= 180
