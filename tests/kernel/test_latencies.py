"""The percentile of the latest times, and what a time that was cut short does to it."""

from __future__ import annotations

from math import ceil, inf

from hypothesis import given
from hypothesis import strategies as st

from tidegate.kernel.latencies import FEWEST, MOST, Latencies

TIMES = st.lists(st.floats(0, 1e6) | st.sampled_from([0.1, 0.2]), max_size=3 * MOST)


@given(TIMES)
def test_the_percentile_is_that_of_the_latest_times(times: list[float]) -> None:
    found = Latencies()
    for time in times:
        found.add(time)
    latest = sorted(times[-MOST:])
    assert found.p95 == (latest[ceil(0.95 * len(latest)) - 1] if len(latest) >= FEWEST else inf)


@given(TIMES, st.floats(0, 1e6))
def test_a_time_that_was_cut_never_lowers_the_percentile(times: list[float], cut: float) -> None:
    found = Latencies()
    for time in times[:MOST]:
        found.add(time)
    before = found.p95
    if len(times) < MOST:
        found.cut(cut)
        assert found.p95 >= before


def test_the_percentile_stays_where_it_is_if_all_that_is_slower_is_cut_there() -> None:
    found = Latencies()
    for at in range(10 * MOST):
        time = at * 37 % MOST / MOST
        if time > found.p95:
            found.cut(found.p95 + 1e-6)
        else:
            found.add(time)
    assert 0.9 <= found.p95 <= 0.97
