from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limit_world import (
    WHOLE,
    WITH_8,
    EngineKind,
    Load,
    World,
    compare,
    falling,
    lognormal_noise,
    table,
)

from tidegate.kernel.adaptive import AdaptiveLimit

SEEDS = range(3)


def adaptive(most: int = 32, least: int = 1) -> AdaptiveLimit:
    return AdaptiveLimit(least=least, most=most)


def run_fall(high: int, low: int, load: Load, kind: EngineKind | None = None, seed: int = 1) -> World:
    return World(adaptive(high), falling(high, low), load, kind or EngineKind(), seed).run(240)


def run_steady(slots: int, load: Load, kind: EngineKind | None = None, seed: int = 1) -> World:
    return World(adaptive(slots), lambda now: slots, load, kind or EngineKind(), seed).run(240)


# An engine that loses slots and gets them back


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("high", "low", "load", "kind"),
    [
        (32, 8, Load(), EngineKind()),
        (16, 4, Load(), EngineKind()),
        (200, 50, Load(), EngineKind()),
        (32, 8, Load(output_s=1), EngineKind()),
        (32, 8, Load(streamed=0.5), EngineKind()),
        (32, 8, Load(tokens=lambda rng, now: rng.choice([20, 2000])), EngineKind()),
        (32, 8, Load(), EngineKind(noise=lognormal_noise(1.0))),
        (32, 8, Load(output_s=1), EngineKind(noise=lognormal_noise(1.0))),
        (32, 8, Load(), EngineKind(sharing=3)),  # TTFT grows with the slots in use
        (32, 8, Load(), EngineKind(reports_s=2)),
        (32, 8, Load(), EngineKind(reports_s=8)),
        (32, 8, Load(), EngineKind(refuses_over=2)),
        (32, 8, Load(estimate=lambda rng: 4), EngineKind()),
        (32, 8, Load(estimate=lambda rng: 0.3), EngineKind()),
        (32, 8, Load(estimate=lambda rng: rng.choice([0.5, 3])), EngineKind()),
        (32, 8, Load(tokens=lambda rng, now: 4000, cached=lambda rng: 0.95), EngineKind()),
        (32, 8, Load(tokens=lambda rng, now: 4000, cached=lambda rng: rng.random()), EngineKind()),
    ],
    ids=[
        "32-8",
        "16-4",
        "200-50",
        "short",
        "half streamed",
        "alternating",
        "noise",
        "short and noise",
        "sharing",
        "reports",
        "rare reports",
        "refuses",
        "high estimates",
        "low estimates",
        "varying estimates",
        "cached",
        "cached in part",
    ],
)
def test_the_limit_follows_the_slots_down_within_30_s_and_up_within_60_s(high, low, load, kind, seed):
    world = run_fall(high, low, load, kind, seed)
    assert world.settled(low, 60, 150) <= 30
    assert world.share_within(low, 90, 150) >= 0.85
    assert world.settled(high, 150, 240) <= 60
    assert world.share_within(high, 210, 240) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fall_is_followed_where_a_call_takes_less_than_half_a_second(seed):
    """The engine's line is then worth milliseconds, and shows only when it is a few calls long."""
    world = run_fall(32, 8, Load(output_s=0.4), seed=seed)
    assert world.settled(8, 60, 150) <= 30
    assert world.share_within(8, 90, 150) >= 0.7
    assert max(world.limits(90, 150)) <= 16
    assert world.settled(32, 150, 240) <= 60


@pytest.mark.parametrize("seed", SEEDS)
def test_long_answers_delay_the_fall_only_while_the_engine_still_serves_them(seed):
    world = run_fall(32, 8, Load(output_s=30), seed=seed)
    assert world.share_within(8, 100, 150) >= 0.9
    assert world.settled(32, 150, 240) <= 60


@pytest.mark.parametrize("seed", SEEDS)
def test_an_engine_with_fewer_slots_than_allowed_from_the_start(seed):
    for output_s, most in [(5, 32), (5, 128), (0.4, 32)]:
        world = World(adaptive(most), lambda now: 8, Load(output_s=output_s), seed=seed).run(200)
        assert world.settled(8, 0, 200) <= 30
        assert world.share_within(8, 60, 200) >= 0.7


def test_a_limit_under_lasting_overload_does_not_creep_up():
    world = World(adaptive(1000), lambda now: 100, Load(), seed=1).run(900)
    assert world.share_within(100, 300, 900) == 1
    late = [call.ttft_s for call in world.done[-1000:] if call.ttft_s is not None]
    assert sum(late) / len(late) < 1


# What is not a loss of slots


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("before", [20, 2000])
@pytest.mark.parametrize("output_s", [1, 5, 30])
def test_another_length_of_prompts_moves_the_limit_by_at_most_a_fifth(before, output_s, seed):
    load = Load(output_s=output_s, tokens=lambda rng, now: before if now < 100 else 2020 - before)
    assert min(run_steady(32, load, seed=seed).limits(0, 240)) >= 26


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("load", "kind"),
    [
        (Load(), EngineKind(noise=lognormal_noise(1.0))),
        (Load(output_s=1), EngineKind(noise=lognormal_noise(1.0))),
        (Load(output_s=0.3), EngineKind(noise=lognormal_noise(0.7))),
        (Load(), EngineKind(noise=lambda rng: rng.choice([1, 1, 2]))),
        (Load(), EngineKind(noise=lambda rng: 10 if rng.random() < 0.1 else 1)),
        (Load(output_s=1), EngineKind(noise=lambda rng: rng.paretovariate(2))),
        (Load(output_s=1, tokens=lambda rng, now: int(2 ** rng.uniform(3, 13))), EngineKind()),
        (Load(estimate=lambda rng: rng.uniform(0.6, 1.6)), EngineKind()),
        (Load(sigma=1.5), EngineKind()),
        (Load(streamed=0), EngineKind()),
        (Load(tokens=lambda rng, now: 4000, cached=lambda rng: rng.random()), EngineKind()),
    ],
)
def test_a_first_byte_that_varies_is_no_queue(load, kind, seed):
    assert min(run_steady(32, load, kind, seed).limits(0, 240)) >= 26


@pytest.mark.parametrize("seed", SEEDS)
def test_cached_prompts_that_the_engine_does_not_report_are_no_queue(seed):
    def load(output_s: float) -> Load:
        return Load(
            output_s=output_s,
            tokens=lambda rng, now: 2000,
            cached=lambda rng: 0.95 * (rng.random() < 0.3),
            reports_cached=False,
        )

    assert min(run_steady(32, load(5), seed=seed).limits(0, 240)) >= 26
    # With short answers, most of a call's time is its TTFT. An engine that reports that no call waits is believed.
    assert min(run_steady(32, load(1), EngineKind(reports_s=5), seed).limits(0, 240)) >= 26


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("before", [20, 2000])
@pytest.mark.parametrize(("slots", "output_s"), [(8, 5), (8, 30), (32, 5), (32, 30)])
def test_another_length_of_prompts_moves_a_limit_that_has_fallen_by_at_most_a_fifth(
    slots, output_s, before, seed
):
    load = Load(output_s=output_s, tokens=lambda rng, now: before if now < 200 else 2020 - before)
    world = World(adaptive(64), lambda now: slots, load, seed=seed).run(400)
    mean_before = sum(world.limits(100, 200)) / len(world.limits(100, 200))
    for start in range(200, 370, 30):
        after = world.limits(start, start + 30)
        assert sum(after) / len(after) == pytest.approx(mean_before, rel=0.2)


@pytest.mark.parametrize("base_s", [0.15, 0.3, 1])
@pytest.mark.parametrize("output_s", [0.4, 1, 5, 30])
def test_a_ttft_that_has_changed_for_good_is_learnt(output_s, base_s):
    kind = EngineKind()
    world = World(adaptive(32), lambda now: 32, Load(output_s=output_s), kind)
    world.at(100, lambda: setattr(kind, "base_s", base_s))
    world.run(300)
    assert min(world.limits(160, 300)) >= 26


@pytest.mark.parametrize("stall_s", [3, 8, 20])
@pytest.mark.parametrize("output_s", [0.4, 5, 30])
def test_an_engine_that_starts_no_call_for_a_while_is_used_again_soon(output_s, stall_s):
    end = 100 + stall_s
    world = World(adaptive(32), lambda now: 0 if 100 <= now < end else 32, Load(output_s=output_s)).run(200)
    assert min(world.limits(end + 40, 200)) >= 26


# Other clients


@pytest.mark.parametrize("reports_s", [0, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_another_client_with_half_of_the_engine_leaves_the_other_half(reports_s, seed):
    world = run_steady(32, Load(others=16), EngineKind(reports_s=reports_s), seed)
    assert 16 <= sum(world.limits(60, 240)) / len(world.limits(60, 240)) <= 20


# Against static limits


@pytest.mark.parametrize("seed", SEEDS)
def test_the_adaptive_limit_beats_both_static_ones(seed):
    limit, small, large = compare(seed).values()
    assert limit.goodput(*WHOLE) > 1.05 * max(small.goodput(*WHOLE), large.goodput(*WHOLE))
    assert limit.goodput(*WITH_8) > 0.9 > large.goodput(*WITH_8)
    assert limit.ttft_s(0.99, *WITH_8) < 0.5 * large.ttft_s(0.99, *WITH_8)
    assert table(seed).count("\n") == 4


# Without a simulation


def test_a_limit_begins_at_most_and_follows_its_bounds_at_once():
    limit = adaptive(32)
    assert (limit.limit, limit.why) == (32, "settings")
    limit.set_bounds(1, 64)
    assert limit.limit == 64
    limit.refused(in_flight=40, now=10)
    assert (limit.limit, limit.why) == (36, "refused")
    limit.set_bounds(1, 128)
    assert limit.limit == 36
    limit.set_bounds(1, 20)
    assert (limit.limit, limit.why) == (20, "settings")
    limit.refused(in_flight=12, now=20)
    limit.set_bounds(15, 20)
    assert limit.limit == 15


def test_a_refusal_counts_once_an_interval_and_at_most_halves_the_limit():
    limit = adaptive(32)
    for less in range(30):
        limit.refused(in_flight=30 - less, now=5 + less / 100)
    assert limit.limit == 27
    limit.refused(in_flight=1, now=7)
    assert limit.limit == 13


@pytest.mark.parametrize(
    ("waiting", "kv_usage", "own", "limit", "why"),
    [
        (0, 0.5, 30, 32, "settings"),
        (None, None, 30, 32, "settings"),
        (2, None, 30, 32, "settings"),  # calls that have just come are no queue
        (10, None, 30, 22, "engine_queue"),
        (30, None, 30, 16, "engine_queue"),  # half of what waits is ours
        (0, 0.98, 30, 27, "kv_cache"),
        (0, 0.92, 30, 32, "settings"),
        (500, 1.0, 2, 16, "engine_queue"),
        (500, None, 0, 32, "settings"),
        (500, 1.0, 0, 16, "kv_cache"),
    ],
)
def test_what_an_engine_reports(waiting, kv_usage, own, limit, why):
    one = adaptive(32)
    one.reported(running=30, waiting=waiting, kv_usage=kv_usage, own=own, now=5)
    assert (one.limit, one.why) == (limit, why)


def grow(limit: AdaptiveLimit, start: float, seconds: int) -> int:
    for at in range(seconds):
        limit.update(start + at, in_flight=limit.limit, wanted=True)
    return limit.limit


def test_the_limit_does_not_grow_while_the_key_value_cache_is_nearly_full():
    limit = adaptive(32)
    limit.refused(in_flight=10, now=0)
    for at in range(0, 60, 5):
        limit.reported(running=9, waiting=0, kv_usage=0.93, own=9, now=at)
        assert grow(limit, at, 5) == 16
    assert grow(limit, 60, 60) == 32, "an old report does not count"


def test_the_limit_does_not_grow_unless_calls_wait_at_the_gateway():
    limit = adaptive(32)
    limit.refused(in_flight=10, now=0)
    for at in range(100):
        limit.update(at, in_flight=16, wanted=False)
        limit.update(at, in_flight=10, wanted=True)
    assert limit.limit == 16
    assert grow(limit, 100, 60) == 32
    assert limit.why == "demand"


def answer_calls(limit: AdaptiveLimit, start: float, ttft_s: float, tokens: int = 100) -> None:
    calls = [limit.asked(tokens, start) for _ in range(10)]
    for call in calls:
        limit.answered(call, start + ttft_s)
        limit.ended(call, tokens)
    limit.update(start + 1, in_flight=10, wanted=False)


def test_what_to_expect_is_still_known_after_an_idle_night():
    limit = adaptive(32)
    for at in range(5):
        answer_calls(limit, at, 0.1)
    for at in range(100, 40_000, 100):
        limit.update(at, in_flight=0, wanted=False)
    for _ in range(20):
        limit.asked(100, 40_000)
    limit.update(40_001, in_flight=20, wanted=True)
    assert (limit.limit, limit.why) == (16, "queue_delay")


def test_a_longer_prompt_than_any_before_may_take_longer_in_proportion():
    for late_after, limit_then in [(1.5, 32), (4, 16)]:
        limit = adaptive(32)
        for at in range(5):
            answer_calls(limit, at, 0.1)
        for _ in range(20):
            limit.asked(1000, 10)
        limit.update(10 + late_after, in_flight=20, wanted=False)
        assert limit.limit == limit_then


def test_only_calls_asked_since_the_last_step_allow_the_next():
    limit = adaptive(64)
    for at in range(5):
        answer_calls(limit, at, 1)
    limit.refused(in_flight=10, now=10)
    answer_calls(limit, 16, 1)
    for call in [limit.asked(100, 17) for _ in range(3)]:
        limit.answered(call, 18)
    before = [limit.asked(100, 17.9) for _ in range(10)]
    assert limit.update(18.1, in_flight=32, wanted=True)
    assert limit.limit == 35
    for call in before:
        limit.answered(call, 18.9)
    assert not limit.update(19.2, in_flight=35, wanted=True)
    after = [limit.asked(100, 19.3) for _ in range(3)]
    for call in after:
        limit.answered(call, 20.2)
    assert limit.update(20.5, in_flight=35, wanted=True)
    assert limit.why == "demand"


def test_a_short_prompt_takes_no_longer_than_a_long_one():
    limit = adaptive(32)
    for at in range(0, 50, 10):
        answer_calls(limit, at, 5, tokens=20)  # these waited
        answer_calls(limit, at + 6, 0.1, tokens=2000)
    for _ in range(20):
        limit.asked(20, 50)
    limit.update(52, in_flight=20, wanted=False)
    assert (limit.limit, limit.why) == (16, "queue_delay")


def test_calls_that_have_ended_are_forgotten():
    limit = adaptive(32)
    calls = [limit.asked(100, now=at / 10) for at in range(100)]
    for at, call in enumerate(calls):
        if at % 3:
            limit.answered(call, now=11)
        limit.ended(call, 50 if at % 2 else None)
    for second in range(12, 60):
        limit.update(second, in_flight=0, wanted=True)
    assert limit.limit == 32
    assert not limit._pending  # white-box: the set would grow for ever


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "answer", "end", "refuse", "report", "update", "bounds"]),
        st.integers(0, 2000),
        st.floats(0, 20),
        st.booleans(),
    ),
    max_size=120,
)


@given(STEPS)
def test_the_limit_stays_within_its_bounds(steps):
    limit, now, open_calls = adaptive(64, least=2), 0.0, []
    for kind, number, passed, flag in steps:
        now += passed
        before = limit.limit
        if kind == "ask":
            open_calls.append((limit.asked(number, now), False))
        elif kind == "answer" and open_calls:
            call, answered = open_calls.pop(number % len(open_calls))
            if not answered:
                limit.answered(call, now)
            open_calls.append((call, True))
        elif kind == "end" and open_calls:
            call, _ = open_calls.pop(number % len(open_calls))
            limit.ended(call, number if flag else None)
        elif kind == "refuse":
            limit.refused(number, now)
        elif kind == "report":
            limit.reported(
                running=number, waiting=number // 7 if flag else None, kv_usage=passed / 20, own=5, now=now
            )
        elif kind == "update":
            in_flight = len(open_calls) + number % 40
            assert limit.update(now, in_flight=in_flight, wanted=flag) is (limit.limit != before)
        elif kind == "bounds":
            limit.set_bounds(1 + number % 5, 5 + number % 90)
        assert limit.least <= limit.limit <= limit.most
        assert kind == "bounds" or limit.limit >= before // 2
        assert len(limit._pending) <= len(open_calls)


@pytest.mark.parametrize(("output_s", "low"), [(15, 1), (30, 1), (30, 2), (60, 2), (60, 4), (120, 4)])
def test_a_limit_that_is_left_with_few_answers_grows_again(output_s, low):
    world = World(adaptive(8), falling(8, low, 60, 400), Load(output_s=output_s)).run(900)
    assert world.settled(low, 60, 400) <= 100
    assert world.settled(8, 400, 900) <= 10 * output_s
