"""Failed calls have a line each, refusals one a second with their counts; time is in the test's hands."""

from __future__ import annotations

import logging

import pytest

from tidegate.errors import (
    BadRequest,
    Overloaded,
    UpstreamBusy,
    UpstreamError,
    UpstreamOutOfQuota,
)
from tidegate.telemetry.failures import Asked, FailureLog


class Hand:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, clock: Hand) -> tuple[FailureLog, pytest.LogCaptureFixture]:
    caplog.set_level(logging.DEBUG)
    return FailureLog(clock), caplog


Told = tuple[FailureLog, pytest.LogCaptureFixture]


def asked(number: int) -> Asked:
    return Asked(f"req_{number}", "gpt-4", "gpt-*")


def test_ten_thousand_refusals_a_second_are_one_line_a_second(told: Told, clock: Hand) -> None:
    failures, caplog = told
    for number in range(30_000):
        clock.now = 100 + number / 10_000
        failures.tell(asked(number), UpstreamBusy("full") if number % 10 == 0 else Overloaded("full"))
    failures.flush()
    lines = caplog.messages
    assert len(lines) == 3
    assert lines[0].startswith(
        "10000 calls failed in 1.0 s (engine_overloaded: 1000, overloaded: 9000); first call req_0: "
    )
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3


def test_each_code_has_its_first_call_in_the_line(told: Told) -> None:
    failures, caplog = told
    error = Overloaded("all 5 connections to the engine are in use")
    error.upstream.engine, error.upstream.url = "gpu", "http://gpu/v1/chat/completions"
    failures.tell(asked(1), error)
    failures.tell(asked(2), UpstreamBusy("full"))
    failures.tell(asked(3), UpstreamBusy("full"))
    failures.flush()
    (line,) = caplog.messages
    assert "3 calls failed in 0.0 s (overloaded: 1, engine_overloaded: 2)" in line
    assert "req_1" in line
    assert "engine=gpu" in line
    assert "url=http://gpu/v1/chat/completions" in line
    assert "req_2" in line
    assert "req_3" not in line


def test_nothing_is_told_twice_and_nothing_is_forgotten(told: Told, clock: Hand) -> None:
    failures, caplog = told
    failures.flush()
    failures.tell(asked(1), Overloaded("full"))
    failures.flush()
    failures.flush()
    clock.now += 5
    failures.tell(asked(2), Overloaded("full"))
    assert len(caplog.messages) == 1  # the second waits for its second
    failures.flush()
    assert [message.count("overloaded: 1") for message in caplog.messages] == [1, 1]


def test_an_empty_account_is_an_error_also_among_refusals(told: Told) -> None:
    failures, caplog = told
    failures.tell(asked(1), Overloaded("full"))
    failures.tell(asked(2), UpstreamOutOfQuota("empty"))
    failures.flush()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_failures_have_a_line_each_and_clients_mistakes_none(told: Told) -> None:
    failures, caplog = told
    for number in range(3):
        failures.tell(asked(number), UpstreamError("broke off"))
    failures.tell(asked(4), BadRequest("no"))
    assert len(caplog.messages) == 3
    assert all("engine_error 502: broke off" in message for message in caplog.messages)
