"""The queues of several workers as one: sums, the worst state, and the longest forecast."""

from __future__ import annotations

from functools import partial

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tidegate.dispatch.deployments import Deployment
from tidegate.dispatch.queue import Queue
from tidegate.dispatch.rules import Needs, QueueRules
from tidegate.dispatch.seats import Seats
from tidegate.dispatch.state import Inquiry, QueueState, state_of
from tidegate.errors import Overloaded
from tidegate.kernel.fairqueue import Rule
from tidegate.workers.queues import glances, together

CLASSES = (Rule("fast", 0.1, 10.0), Rule("default", 0.1, 60.0))


def of_worker(waiting: int, *, most: int = 4, refused: int = 0, limit: int | None = 2) -> QueueState:
    """What a worker tells whose engine is busy and for which so many calls wait, of two tenants in turn."""
    queue = Queue(lambda: 100.0, QueueRules(max_size=most, classes=CLASSES), jitter=lambda: 0.0)
    seats = Seats(limit, rules=CLASSES, clock=lambda: 100.0)
    deployment = Deployment("e", None, seats)  # pyright: ignore[reportArgumentType]
    seats.ready = True
    while limit is not None and seats.try_take():
        pass
    for at in range(waiting):
        queue.enter("default", partial(Needs, "default", "ab"[at % 2], "p", 10, 0, 100), [deployment])
    for _ in range(refused):
        queue.configure(QueueRules(max_size=waiting, classes=CLASSES))
        try:
            queue.enter("default", partial(Needs, "default", "a"), [deployment])
        except Overloaded:
            queue.configure(QueueRules(max_size=most, classes=CLASSES))
    inquiry = Inquiry("m", "default", "c")
    # As it comes over the line.
    told = msgspec.json.encode(state_of(queue, {"e": seats}, inquiry, [seats]))
    return msgspec.json.decode(told, type=QueueState)


def test_numbers_are_added_up_and_the_worst_state_is_told() -> None:
    found = together({0: of_worker(3), 2: of_worker(1, refused=1)}, workers=3)
    assert (found.size, found.max_size, found.rejected, found.work, found.bytes) == (4, 8, 1, 40, 400)
    assert (found.utilization, found.state) == (0.75, "overloaded")
    assert [(one.priority, one.waiting, one.work, one.share) for one in found.classes] == [
        ("fast", 0, 0, 0.1),
        ("default", 4, 40, 0.1),
    ]
    assert [(one.tenant, one.waiting, one.work) for one in found.tenants] == [("a", 3, 30), ("b", 1, 10)]
    assert [(one.priority, one.reason, one.calls) for one in found.rejections] == [("default", "size", 1)]
    assert [(one.worker, one.size, one.state) for one in found.workers] == [
        (0, 3, "healthy"),
        (2, 1, "overloaded"),
    ]
    assert found.silent_workers == 1


def test_an_engine_has_the_seats_of_all_workers() -> None:
    (engine,) = together({0: of_worker(1), 1: of_worker(0, limit=3)}, workers=2).engines
    assert (engine.in_flight, engine.limit, engine.most, engine.ready) == (5, 5, 5, True)
    assert engine.rate is None  # it is known of neither
    assert [one.priority for one in engine.forecast] == ["fast", "default"]
    (engine,) = together({0: of_worker(1), 1: of_worker(0, limit=None)}, workers=2).engines
    assert (engine.limit, engine.most) == (None, None)


def test_the_forecast_is_that_of_the_worker_with_the_longest_wait() -> None:
    found = together({0: of_worker(0, limit=None), 1: of_worker(3)}, workers=2).forecast
    assert found is not None
    assert (found.priority, found.position, found.refused) == ("default", 1, "")
    found = together({0: of_worker(3), 1: of_worker(1, most=1)}, workers=2).forecast
    assert found is not None
    assert found.refused == "size"


def test_nobody_answers() -> None:
    found = together({}, workers=2)
    assert (found.state, found.size, found.engines, found.forecast) == ("healthy", 0, [], None)
    assert found.silent_workers == 2
    assert glances([]).max_size == 0


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_nothing_is_lost(sizes: list[int]) -> None:
    states = {at: of_worker(waiting) for at, waiting in enumerate(sizes)}
    found = together(states, workers=len(sizes))
    assert found.size == sum(one.waiting for one in found.classes) == sum(sizes)
    assert sum(one.waiting for one in found.tenants) == found.size
    assert found.utilization == max(sizes) / 4
