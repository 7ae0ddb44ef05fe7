"""The health of a deployment: what counts against it, pauses, and that one call goes first after them."""

from __future__ import annotations

import pytest

from tidegate.dispatch.health import MOST_PAUSE_S, TRIAL_S, Health
from tidegate.errors import (
    Again,
    BadRequest,
    GatewayError,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)


def health() -> Health:
    return Health("model m on engine e", lambda: 0.0)


def failed(found: Health, error: GatewayError, now: float = 0.0) -> None:
    found.failed(error, now, probe=found.begins(now))


def busy(retry_after_s: float | None) -> UpstreamBusy:
    return UpstreamBusy("full", retry_after_s=retry_after_s)


@pytest.mark.parametrize(
    "error", [UpstreamError("500"), UpstreamTimeout("silent"), UpstreamUnreachable("no connection")]
)
def test_failures_in_a_row_put_it_out(error: GatewayError) -> None:
    found = health()
    for _ in range(found.breaker.rules.in_a_row):
        assert not found.is_out(0.0)
        failed(found, error)
    assert found.is_out(0.0)


def closed() -> UpstreamError:
    error = UpstreamError("a kept-alive connection was closed")
    error.again = Again.SAME
    return error


@pytest.mark.parametrize("error", [BadRequest("wrong"), closed(), busy(None)])
def test_what_says_nothing_against_it_does_not(error: GatewayError) -> None:
    found = health()
    for _ in range(100):
        failed(found, error)
    assert not found.is_out(0.0)


def test_a_busy_engine_is_left_alone_for_the_time_that_it_asks_for() -> None:
    found = health()
    failed(found, busy(7.0))
    assert found.is_out(6.9)
    assert not found.is_out(7.0)
    failed(found, busy(1e9), now=7.0)
    assert not found.is_out(7.0 + MOST_PAUSE_S)


def test_after_a_pause_one_call_goes_first() -> None:
    found = health()
    failed(found, busy(2.0))
    assert not found.is_out(2.0)
    found.begins(2.0)
    assert found.is_out(2.1), "the first one is on its way"
    found.answered(2.5, after_s=0.5, probe=False)
    assert not found.is_out(2.5)
    found.begins(2.6)
    assert not found.is_out(2.6)


def test_a_first_call_that_says_nothing_does_not_keep_the_others_away_for_good() -> None:
    found = health()
    failed(found, busy(2.0))
    found.begins(2.0)
    assert found.is_out(2.0 + TRIAL_S - 0.1)
    assert not found.is_out(2.0 + TRIAL_S)


def test_a_first_call_that_is_refused_begins_another_pause() -> None:
    found = health()
    failed(found, busy(2.0))
    failed(found, busy(3.0), now=2.0)
    assert found.is_out(4.9)
    assert not found.is_out(5.0)


def test_a_refusal_that_comes_late_does_not_shorten_a_pause() -> None:
    found = health()
    failed(found, busy(10.0))
    failed(found, busy(1.0), now=0.5)
    assert found.is_out(9.9)
