"""The checkers find what they are for: each history here breaks one rule, and the sound one breaks none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaos.faults.checkers import (
    ALWAYS,
    crowded_probes,
    ends,
    failovers_s,
    most_at_once,
    over_seats,
    repeated,
    requests_ratio,
    tried_after_text,
    truncated,
    unanswered,
)
from chaos.faults.clients import text_of
from chaos.faults.history import Act, Asked, History, Late, Op, Passed, read_history

TOKENS = 4


def op(number: int, **more: Any) -> Op:
    text = text_of(number, TOKENS)
    fields = {
        "gateway": "g0",
        "expected": text,
        "tokens": TOKENS,
        "sent_at": float(number),
        "first_at": number + 0.1,
        "ended_at": number + 0.5,
        "status": 200,
        "text": text,
        "end": "done",
        "engines": ["a"],
    }
    return Op(number=number, **{**fields, **more})


def asked(number: int, **more: Any) -> Asked:
    fields = {
        "engine": "a",
        "run": 1,
        "op": number,
        "gateway": "g0",
        "began_at": number + 0.05,
        "ended_at": number + 0.4,
        "outcome": "finished",
        "delivered": TOKENS,
    }
    return Asked(number=number, **{**fields, **more})


def passed(number: int, **more: Any) -> Passed:
    fields = {
        "engine": "a",
        "gateway": "g0",
        "op": number,
        "received_at": number + 0.05,
        "ended_at": number + 0.4,
    }
    return Passed(number=number, **{**fields, **more})


def sound() -> History:
    return History([op(n) for n in range(4)], [asked(n) for n in range(4)], [passed(n) for n in range(4)], [])


def test_a_sound_history_breaks_no_rule() -> None:
    history = sound()
    assert {name: check(history) for name, check in ALWAYS.items()} == {name: [] for name in ALWAYS}
    assert over_seats(history, 1) == []
    assert crowded_probes(history, "a", since=0.0) == []
    assert requests_ratio(history) == 1
    assert ends(history) == {"done": 4}


HALF = text_of(1, 2)
WRONG: dict[str, tuple[Callable[[History], list[str]], dict[str, Any]]] = {
    "half, and complete": (truncated, {"text": HALF}),
    "nothing, and complete": (truncated, {"text": "", "engines": []}),
    "by an engine that has not said it": (truncated, {"engines": ["b"]}),
    "twice": (repeated, {"text": text_of(1, TOKENS) * 2}),
    "a word twice": (repeated, {"text": HALF + HALF, "end": "error"}),
    "of another request": (repeated, {"text": text_of(2, TOKENS)}),
    "begun anew": (repeated, {"text": "1·0é 1·1é 1·0é", "end": "error"}),
    "without its beginning": (repeated, {"text": "1·1é", "end": "error"}),
    "of two engines": (repeated, {"engines": ["a", "b"]}),
    "more after its end": (repeated, {"after_end": True}),
    "cut": (unanswered, {"end": "cut", "text": HALF}),
    "hung": (unanswered, {"end": "hung", "text": ""}),
    "unreached": (unanswered, {"end": "unreached", "status": 0, "text": ""}),
}


@pytest.mark.parametrize(("check", "changes"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_found(check: Callable[[History], list[str]], changes: dict[str, Any]) -> None:
    history = sound()
    history.ops[1] = op(1, **changes)
    assert [line.split()[1] for line in check(history)] == ["1"]


def test_half_of_an_answer_with_an_error_is_no_lie() -> None:
    history = sound()
    history.ops[1] = op(1, text=HALF, end="error", code="engine_error")
    history.asked[1] = asked(1, delivered=2, outcome="cancelled")
    assert all(check(history) == [] for check in ALWAYS.values())


def test_an_engine_that_delivered_half_has_not_said_all_of_it() -> None:
    history = sound()
    history.asked[1] = asked(1, delivered=2)
    assert len(truncated(history)) == 1


@pytest.mark.parametrize(
    ("act", "excused"),
    [(("g0", 1.2, 1.4), True), (("g0", 0.0, 1.1), True), (("g0", 2.0, 3.0), False), (("a", 1.2, 1.4), False)],
)
def test_only_harm_to_its_own_gateway_excuses_a_cut(act: tuple[str, float, float], excused: bool) -> None:
    history = sound()
    history.ops[1] = op(1, end="cut", text=HALF)
    whom, began_at, ended_at = act
    history.acts = [Act(what="kill", whom=whom, began_at=began_at, ended_at=ended_at)]
    assert (unanswered(history) == []) == excused
    history.ops[1] = op(1, text=HALF)
    assert truncated(history), "nothing excuses a lie"


def test_another_try_after_the_first_text_is_found() -> None:
    history = sound()
    history.passed.append(passed(4, op=1, engine="b", received_at=1.3))
    assert len(tried_after_text(history)) == 1
    history.ops[1] = op(1, streamed=False)
    assert tried_after_text(history) == []


def overlapping(**more: Any) -> list[Asked]:
    return [asked(n, began_at=10 + n / 10, ended_at=20.0, **more) for n in range(3)]


def test_seats_are_counted_for_each_gateway_and_engine() -> None:
    history = sound()
    history.asked += overlapping()
    assert len(over_seats(history, 2)) == 1
    assert over_seats(history, 3) == []
    for number, one in enumerate(history.asked):
        one.gateway = f"g{number}"
    assert over_seats(history, 1) == []


def test_what_an_engine_cannot_have_noticed_takes_no_seat() -> None:
    history = sound()
    history.asked = [
        asked(0, began_at=1.0, ended_at=5.0, outcome="cancelled"),
        asked(1, began_at=4.5, ended_at=6.0),
    ]
    assert over_seats(history, 1) == []
    history.asked[1].began_at = 3.0
    assert len(over_seats(history, 1)) == 1
    history.acts = [Act(what="stop", whom="a", began_at=2.0, ended_at=5.0)]
    assert over_seats(history, 1) == []
    history.asked[0] = asked(0, began_at=1.0, ended_at=None, outcome="running")
    assert over_seats(history, 1) == []


def test_probes_at_once_are_found() -> None:
    history = sound()
    history.passed = [passed(n, received_at=n / 10, ended_at=n / 10 + 0.5, fault="status") for n in range(4)]
    assert len(crowded_probes(history, "a", since=0.0)) == 1
    assert crowded_probes(history, "a", since=0.3) == []
    assert crowded_probes(history, "b", since=0.0) == []
    for number, one in enumerate(history.passed):
        one.gateway = f"g{number}"
    assert crowded_probes(history, "a", since=0.0) == []


def test_failovers_are_timed_from_the_failure_to_the_next_engine() -> None:
    history = sound()
    history.passed += [passed(4, op=1, engine="b", received_at=1.42), passed(5, op=2, received_at=2.9)]
    assert failovers_s(history) == [pytest.approx(0.02)]
    assert requests_ratio(history) == 1.5


def test_spans_that_touch_do_not_overlap() -> None:
    assert most_at_once([]) == 0
    assert most_at_once([(0, 1), (1, 2)]) == 1
    assert most_at_once([(0, 1), (0.5, 2), (0.9, 0.9)]) == 2


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    history = sound()
    history.acts = [Act(what="kill", whom="a", began_at=1.0, ended_at=2.0)]
    history.late = [Late(p99_ms=1.5)]
    history.write(tmp_path / "h")
    assert msgspec.to_builtins(read_history(tmp_path / "h")) == msgspec.to_builtins(history)
