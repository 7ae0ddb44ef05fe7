"""Rendezvous hashing: shares by weight, and places that come and go move only their own keys."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tidegate.kernel.rendezvous import ranked

KEYS = st.integers(0, 2**64 - 1)
PLACES = st.lists(
    st.tuples(st.text(max_size=5), st.floats(0.01, 100)), min_size=1, max_size=8, unique_by=lambda one: one[0]
)


@given(KEYS, PLACES)
def test_every_place_has_a_rank(key, places):
    assert sorted(ranked(key, places)) == list(range(len(places)))


@given(KEYS, PLACES, st.integers(0, 7))
def test_a_place_that_leaves_changes_the_order_of_no_others(key, places, gone):
    before = [places[at] for at in ranked(key, places)]
    left = [one for at, one in enumerate(places) if at != gone % len(places)]
    assert [left[at] for at in ranked(key, left)] == [one for one in before if one in left]


def test_places_come_first_in_proportion_to_their_weights():
    places = [("a", 1.0), ("b", 2.0), ("c", 5.0)]
    first = Counter(ranked(key * 2_654_435_761, places)[0] for key in range(8000))
    assert all(abs(first[at] - 1000 * weight) < 150 for at, (_, weight) in enumerate(places)), first


def test_the_order_is_the_same_in_every_process():
    assert ranked(7, [("gpu-1", 1.0), ("gpu-2", 1.0), ("gpu-3", 1.0)]) == EXPECTED


EXPECTED = [2, 1, 0]
