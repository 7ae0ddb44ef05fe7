"""The order of a line: shares between classes, token fairness between tenants, deadlines within a tenant, nothing lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.kernel.fairqueue import AGED, OWN, FairQueue, Rule
from tidegate.kernel.fairtenants import Waiting

RULES = (Rule("interactive", 0.05, 10), Rule("default", 0.05, 60), Rule("batch", 0.05, 600))
Line = FairQueue[Waiting]


def line(rules: Sequence[Rule] = RULES) -> Line:
    return FairQueue[Waiting](rules)


def serve(queue: Line, now: float = 0.0) -> Waiting:
    call = queue.next(now)
    assert call is not None
    queue.serve(call, now)
    return call


class Filling:
    """A line in which some kinds of calls never run out. The counts of what was served are in work."""

    def __init__(self, rules: Sequence[Rule], kinds: Sequence[Callable[[int], Waiting]]) -> None:
        self.queue = line(rules)
        self.by_tenant, self.by_class = Counter[str](), Counter[str]()
        self._ranks = count()
        self._kinds = kinds
        self._of: dict[int, Callable[[int], Waiting]] = {}
        for kind in kinds:
            for _ in range(5):
                self._add(kind)

    def _add(self, kind: Callable[[int], Waiting]) -> None:
        rank = next(self._ranks)
        self._of[rank] = kind
        self.queue.add(kind(rank))

    def serve(self, times: int) -> None:
        for _ in range(times):
            call = serve(self.queue)
            self.by_tenant[call.tenant] += int(call.work)
            self.by_class[call.priority] += int(call.work)
            self._add(self._of.pop(call.rank))


@pytest.mark.parametrize("costs", [(10, 1), (1000, 100), (3, 2), (1, 50)])
def test_two_tenants_share_a_class_by_work_and_not_by_calls(costs: tuple[int, int]) -> None:
    dear, cheap = costs
    full = Filling(
        RULES,
        [
            lambda rank: Waiting(rank, "default", "dear", work=dear),
            lambda rank: Waiting(rank, "default", "cheap", work=cheap),
        ],
    )
    full.serve(400 * max(costs) // min(costs))
    whole = full.by_tenant.total()
    assert full.by_tenant["dear"] / whole == pytest.approx(0.5, abs=0.01)


def test_the_gap_between_tenants_is_that_of_one_call_at_most() -> None:
    chance = random.Random(7)
    full = Filling(
        RULES,
        [
            lambda rank, tenant=tenant: Waiting(rank, "default", tenant, work=chance.randint(1, 100))
            for tenant in "abc"
        ],
    )
    for _ in range(500):
        full.serve(1)
        assert max(full.by_tenant.values()) - min(full.by_tenant[name] for name in "abc") <= 200


def test_a_tenant_that_comes_back_has_saved_up_nothing() -> None:
    queue, ranks = line(), count()
    for _ in range(50):
        queue.add(Waiting(next(ranks), "default", "steady"))
    for _ in range(30):
        serve(queue)
    for _ in range(20):
        queue.add(Waiting(next(ranks), "default", "back"))
    served = [serve(queue).tenant for _ in range(10)]
    assert Counter(served) == {"steady": 5, "back": 5}


def test_a_tenant_that_leaves_the_line_for_a_moment_keeps_what_it_was_served() -> None:
    """One dear call after the other must not get as many turns as cheap calls that wait all the time."""
    queue, ranks, got = line(), count(), Counter[str]()
    for _ in range(1000):
        queue.add(Waiting(next(ranks), "default", "steady", work=1))
    queue.add(Waiting(next(ranks), "default", "one by one", work=10))
    for _ in range(330):
        call = serve(queue)
        got[call.tenant] += int(call.work)
        if call.tenant == "one by one":
            queue.add(Waiting(next(ranks), "default", "one by one", work=10))
    assert got["one by one"] / got.total() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_every_class_keeps_its_share_in_a_flood(share: float) -> None:
    rules = [rule._replace(share=share) for rule in RULES]
    full = Filling(rules, [lambda rank, name=rule.name: Waiting(rank, name, work=7) for rule in rules])
    full.serve(2000)
    whole = full.by_class.total()
    for rule in rules:
        assert full.by_class[rule.name] / whole >= share * 0.98
    assert full.by_class["interactive"] / whole == pytest.approx(1 - 2 * share, abs=0.01)


def test_a_share_is_of_the_work_and_not_of_the_calls() -> None:
    works = {"interactive": 1, "default": 10, "batch": 100}
    full = Filling(RULES, [lambda rank, name=name: Waiting(rank, name, work=works[name]) for name in works])
    full.serve(20_000)
    whole = full.by_class.total()
    assert full.by_class["batch"] / whole == pytest.approx(0.05, abs=0.01)
    assert full.by_class["default"] / whole == pytest.approx(0.05, abs=0.01)


def test_a_class_without_a_share_waits_until_the_others_are_done() -> None:
    queue = line([Rule("first"), Rule("last")])
    for rank in range(6):
        queue.add(Waiting(rank, "last" if rank % 2 else "first"))
    assert [serve(queue).rank for _ in range(6)] == [0, 2, 4, 1, 3, 5]


def test_a_class_whose_next_call_has_aged_goes_first() -> None:
    queue = line([Rule("first", 0, 10), Rule("last", 0, 100)])
    queue.add(Waiting(0, "last", entered_at=0.0))
    for rank in range(1, 9):
        queue.add(Waiting(rank, "first", entered_at=78.0))
    assert serve(queue, AGED * 100 - 0.1).priority == "first"
    assert serve(queue, AGED * 100).priority == "last"


def test_the_earliest_deadline_of_a_tenant_goes_first() -> None:
    queue = line()
    for rank, deadline in enumerate((30.0, 10.0, 20.0, 10.0)):
        queue.add(Waiting(rank, "default", "t", deadline=deadline))
    assert [serve(queue).rank for _ in range(4)] == [1, 3, 2, 0]


def test_calls_of_the_gateways_own_go_before_all_others() -> None:
    queue = line()
    queue.add(Waiting(0, "interactive"))
    queue.add(Waiting(1, OWN))
    assert serve(queue).priority == OWN


def test_the_classes_can_change_while_calls_wait() -> None:
    queue = line()
    for rank, name in enumerate(("batch", "interactive", "default", "interactive")):
        queue.add(Waiting(rank, name))
    queue.configure([Rule("vip"), Rule("default"), Rule("batch")])
    queue.add(Waiting(4, "vip"))
    assert queue.size == 5
    assert [serve(queue).priority for _ in range(5)] == [
        "vip",
        "default",
        "batch",
        "interactive",
        "interactive",
    ]


def test_the_newest_call_of_the_last_class_gives_way() -> None:
    queue = line()
    for rank, name in enumerate(("batch", "default", "batch", "default")):
        queue.add(Waiting(rank, name, "t"))
    assert _rank(queue.newest("interactive", "t")) == 2
    assert _rank(queue.newest("default", "t")) == 2
    assert queue.newest("batch", "t") is None


def test_of_equal_classes_the_tenant_with_the_most_work_gives_way() -> None:
    queue = line()
    for rank in range(5):
        queue.add(Waiting(rank, "default", "flood"))
    queue.add(Waiting(5, "default", "small"))
    assert _rank(queue.newest("default", "small")) == 4
    assert queue.newest("default", "flood") is None


def _rank(call: Waiting | None) -> int | None:
    return call.rank if call is not None else None


# -------------------------------------------------------------------------------------------------------------- forecast


def test_the_work_ahead_is_that_of_the_own_calls_and_of_the_others_up_to_the_same_level() -> None:
    queue = line()
    for rank in range(10):
        queue.add(Waiting(rank, "default", "many", work=10))
    queue.add(Waiting(10, "default", "few", work=10))
    assert queue.ahead("default", "many", float("inf")).own == pytest.approx(110)
    assert queue.ahead("default", "few", float("inf")).own == pytest.approx(10 + 20, abs=10)
    assert queue.ahead("default", "new", float("inf")).own == pytest.approx(20, abs=10)
    assert queue.ahead("interactive", "new", float("inf")).own == 0
    assert queue.ahead("batch", "new", float("inf")).higher == pytest.approx(110)


@given(seed=st.integers(0, 10_000))
def test_the_work_ahead_foretells_what_goes_before(seed: int) -> None:
    """Of a line to which no call is added, the forecast is too low by less than two calls of each tenant."""
    chance = random.Random(seed)
    queue, most = line([Rule("default")]), 50
    for rank in range(chance.randint(1, 60)):
        queue.add(
            Waiting(
                rank, "default", chance.choice("abcd"), deadline=float(rank), work=chance.randint(1, most)
            )
        )
    for _ in range(chance.randint(0, queue.size - 1)):
        serve(queue)
    tenant = chance.choice("abcde")
    ahead = queue.ahead("default", tenant, 1e9).own
    queue.add(mine := Waiting(1000, "default", tenant, deadline=1e9, work=1))
    before = 0.0
    while (call := serve(queue)) is not mine:
        before += call.work
    assert before - ahead <= 2 * most * 5


# ------------------------------------------------------------------------------------------------------------ properties

_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "serve", "remove", "charge"]),
        st.sampled_from(["interactive", "default", "batch", "gone", OWN]),
        st.sampled_from("abc"),
        st.integers(1, 100),
    ),
    max_size=80,
)


@given(_STEPS)
def test_no_call_is_lost_or_served_twice(steps: list[tuple[str, str, str, int]]) -> None:
    queue, waiting, now = line(), dict[int, Waiting](), 0.0
    for rank, (step, name, tenant, number) in enumerate(steps):
        now += number / 10
        if step == "add":
            waiting[rank] = call = Waiting(
                rank, name, tenant, deadline=now + number, entered_at=now, work=number
            )
            queue.add(call)
        elif step == "serve" and waiting:
            del waiting[serve(queue, now).rank]
        elif step == "remove" and waiting:
            call = waiting.pop(sorted(waiting)[number % len(waiting)])
            queue.remove(call)
            queue.remove(call)
        elif step == "charge":
            queue.charge(name, tenant, number - 50)
        assert queue.size == len(waiting) == sum(size for size, _ in queue.sizes().values())
        assert {call.rank for call in queue.calls()} == waiting.keys()
        for name_, (size, work) in queue.sizes().items():
            held = sum(call.portion for call in waiting.values() if call.priority == name_)
            assert (size == 0) == (held == 0)
            assert work == pytest.approx(held)
    while waiting:
        del waiting[serve(queue, now).rank]
    assert queue.next(now) is None


def test_tenants_that_are_gone_are_forgotten() -> None:
    queue = line()
    queue.add(Waiting(-1, "default", "steady", deadline=1e9, work=10**9))
    for rank in range(5000):
        queue.add(Waiting(rank, "default", f"tenant {rank}"))
        serve(queue)
    kept = sum(len(kind.tenants) for kind in queue._classes.values())
    assert kept < 3000
